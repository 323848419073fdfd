"""Patchscopes: put a hidden vector of one prompt into another prompt, and read what the model generates."""
