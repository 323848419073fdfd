"""Train a model: batches, a schedule, the loop, and checkpoints to resume from."""
