"""The parts of the page that traces a forward pass."""
