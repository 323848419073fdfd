"""Run a model: load it, decode with it, train it, on one device or several."""
