"""From a source to a model in memory: what it needs, whether that fits, its weights."""
