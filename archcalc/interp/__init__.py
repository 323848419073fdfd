"""Looking into a model at work: what it says next and why, computed by the real modules, as plain data."""
