"""A model at work: loaded, decoding, training, on one device or several."""
