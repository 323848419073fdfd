"""Templates that several families share."""
