"""Weights of files → nn: safetensors folders, GGUF files, repositories of the Hugging Face hub."""

from archcalc.checkpoint.opened import Checkpoint, open_checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]
