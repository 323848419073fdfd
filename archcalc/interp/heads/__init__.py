"""Attention heads: their patterns, what kind they are, and what they add to a logit."""
