"""Load weights into modules: safetensors folders, GGUF files, Hugging Face repositories."""

from archcalc.checkpoint.checkpoint import Checkpoint, open_checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]
