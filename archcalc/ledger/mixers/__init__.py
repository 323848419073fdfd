"""Mixers: a file for each variant, and what they share."""
