"""The parts of the page that steps through a forward pass."""
