"""Steer a model: directions from contrasting prompts, added to the residual stream or projected out of it."""
