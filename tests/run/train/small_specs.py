"""Small specs that learn in seconds."""

from __future__ import annotations

from archcalc import load
from archcalc.spec import Spec

TEXT = "the cat sat on the mat, and the dog by the door.\nthe dog saw the cat, and the cat saw the dog.\n" * 30


def decoder(**changes: object) -> Spec:
    """A decoder with dropout."""
    small = {"n_layers": 2, "d_model": 24, "n_heads": 2, "n_kv_heads": 1, "d_head": 12, "d_ff": 32, "n_ctx": 32}
    return load("tiny", small | {"vocab_size": 280, "dropout": {"residual": 0.1}} | changes)


def encoder() -> Spec:
    """An encoder with a masked-token head."""
    return load("bert-base", {"n_layers": 1, "d_model": 24, "n_heads": 2, "d_head": 12, "d_ff": 32, "vocab_size": 280})


def sequences() -> Spec:
    """An encoder and a decoder with learned positions."""
    attention = {"kind": "gqa", "n_heads": 4}
    layer = {
        "norm": {"kind": "layernorm"},
        "attention": attention,
        "ffn": {"kind": "plain", "d_ff": 128, "activation": "relu"},
    }
    stack = {"n_layers": 2, "position": {"kind": "learned"}, "final_norm": {"kind": "layernorm"}}
    return load(
        {
            "name": "sequences",
            "vocab_size": 20,
            "n_ctx": 16,
            "d_model": 64,
            "encoder": stack | {"runs": [{"pattern": [layer]}]},
            "decoder": stack | {"runs": [{"pattern": [layer | {"cross": attention}]}]},
            "head": {"tied": False},
        }
    )
