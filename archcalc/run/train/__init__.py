"""A model that learns: batches, a schedule, the loop, and checkpoints that it goes on from."""
