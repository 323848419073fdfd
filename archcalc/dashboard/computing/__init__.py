"""The parts of the page Compute and memory."""
