"""Lenses: what the model would predict from the residual stream of each layer."""
