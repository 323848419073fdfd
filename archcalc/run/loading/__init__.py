"""Load a model: open its source, check that it fits, fill its weights."""
