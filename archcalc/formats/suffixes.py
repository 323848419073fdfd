"""Suffixes of files with weights."""

from __future__ import annotations

from typing import Final

GGUF: Final = ".gguf"
SAFETENSORS: Final = ".safetensors"
# Files of weights that can run code when they are read, and never are.
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
