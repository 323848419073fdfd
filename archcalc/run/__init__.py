"""What it takes to run a model: its tokenizer, its chat template, sampling, generation."""
