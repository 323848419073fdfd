"""From prompts to texts: which token comes next, and how fast."""
