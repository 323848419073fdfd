"""A forward pass step by step: what each step computes, of what, and what comes of it."""
