"""Templates of similar families: each builder returns a family from its switches."""
