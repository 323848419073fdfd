"""Many architectures at once: a grid of values, worked out on arrays."""
