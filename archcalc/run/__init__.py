"""A model at work: text to ids and back, which token comes next, and how fast."""
