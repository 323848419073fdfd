"""The geometry of token vectors: neighbors, analogies, one word in several contexts, projections."""
