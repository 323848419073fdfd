"""The modules of mixers: a file for each variant, and what they share."""
