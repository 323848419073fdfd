"""The page of compute and memory: what running costs, what training costs."""
