"""The weights of the preset happy, solved for: every stage of its worked example is a linear system, or nearly.

`python tests/interp/happy_weights.py` writes presets/weights/happy anew; a test holds what lies there against this.
The published stages are those of presets/weights/happy/published.yaml. Matrices are chosen freely, small and unlike
each other; biases, and what else is left, follow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "presets/weights/happy"
WORDS = ["<SOS>", "我", "很", "开心", "<EOS>"]
INPUT, PATTERN, VALUES = [0.1, 0.2, 0.3], [0.1, 0.3, 0.6], [0.8, 1.2, 0.4]
FIRST_NORMED, SECOND_NORMED = [0.0, 1.0, -0.5], [0.8, 0.1, 1.5]
UP, DOWN = [0.5, -0.2, 1.8, 0.1, -1.0, 0.9], [1.5, 0.2, 2.0]
LOGITS = [-0.2, 1.0, 0.5, 3.0, -1.0]
# What the two places before the last say: 我 after <SOS>, 很 after 我.
EARLIER = [[-1.0, 2.0, 0.5, 0.0, -1.5], [-1.0, 0.0, 2.0, 0.5, -1.5]]
EPS = 1e-5


def weights() -> dict[str, Tensor]:
    """Canonical names → float32 tensors; solved in float64."""
    w: dict[str, Tensor] = {}
    w["embed.tokens.weight"] = _t(
        [[0.5, -0.3, 0.2], [-0.4, 0.6, 0.1], [0.2, 0.1, 0.1], [0.3, -0.2, -0.6], [0, 0.4, -0.3]]
    )
    w["positions.weight"] = _t([[0.1, 0.0, 0.2], [0.2, 0.1, -0.3], [-0.1, 0.1, 0.2], [0.0, -0.2, 0.1]])
    x_TD = w["embed.tokens.weight"][:3] + w["positions.weight"][:3]
    assert torch.allclose(x_TD[2], _t(INPUT))
    _attention(w, x_TD)
    normed_TD = _layernorm(w, "attn", x_TD + _attended(w, x_TD), FIRST_NORMED)
    _linear(w, "ffn.up", [[1, 0, -1], [0, 1, 1], [1, 1, 0], [-1, 0, 1], [0, -1, 1], [1, -1, 0]], normed_TD[2], UP)
    hidden_TF = (normed_TD @ w["layers.0.ffn.up.weight"].T + w["layers.0.ffn.up.bias"]).relu()
    down = [[0.5, 0.2, 0.4, 0.0, -0.3, 0.1], [-0.2, 0.6, 0.0, 0.3, 0.5, -0.4], [0.1, -0.5, 0.8, 0.2, 0.0, 0.3]]
    _linear(w, "ffn.down", down, hidden_TF[2], DOWN)
    fed_TD = hidden_TF @ w["layers.0.ffn.down.weight"].T + w["layers.0.ffn.down.bias"]
    _head(w, _layernorm(w, "ffn", normed_TD + fed_TD, SECOND_NORMED))
    return {name: tensor.float() for name, tensor in w.items()}


def _attention(w: dict[str, Tensor], x_TD: Tensor) -> None:
    """Keys are the states; the query is what gives the wanted scores; values are moved to their wanted mean."""
    query = torch.linalg.solve(x_TD, _t(PATTERN).log() * 3**0.5)
    _linear(w, "attn.q", [[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1]], x_TD[2], query)
    _linear(w, "attn.k", torch.eye(3).tolist(), x_TD[2], x_TD[2])
    mean = _t(PATTERN) @ x_TD
    _linear(w, "attn.v", [[1, -1, 0.5], [0.5, 1, -1], [-1, 0.5, 1]], mean, VALUES)
    _linear(w, "attn.out", torch.eye(3).tolist(), x_TD[2], x_TD[2])


def _attended(w: dict[str, Tensor], x_TD: Tensor) -> Tensor:
    """What attention makes of all three places, each seeing itself and those before it."""
    q, k, v = (x_TD @ w[f"layers.0.attn.{n}.weight"].T + w[f"layers.0.attn.{n}.bias"] for n in "qkv")
    hidden = torch.ones(3, 3).triu(1).bool()
    return (q @ k.T / 3**0.5).masked_fill(hidden, -torch.inf).softmax(-1) @ v


def _layernorm(w: dict[str, Tensor], slot: str, x_TD: Tensor, wanted: list[float]) -> Tensor:
    """A half of the normalized states, moved to what is wanted of the last; returns the normed states."""
    plain_TD = torch.nn.functional.layer_norm(x_TD, (3,), eps=EPS)
    w[f"layers.0.{slot}_norm.weight"] = _t([0.5, 0.5, 0.5])
    w[f"layers.0.{slot}_norm.bias"] = _t(wanted) - 0.5 * plain_TD[2]
    return plain_TD * 0.5 + w[f"layers.0.{slot}_norm.bias"]


def _linear(
    w: dict[str, Tensor], name: str, matrix: list[list[float]], x: Tensor, wanted: Tensor | list[float]
) -> None:
    """A matrix, and the bias that makes `wanted` of `x`."""
    w[f"layers.0.{name}.weight"] = _t(matrix)
    w[f"layers.0.{name}.bias"] = torch.as_tensor(wanted, dtype=torch.float64) - _t(matrix) @ x


def _head(w: dict[str, Tensor], h_TD: Tensor) -> None:
    """Normed states of width three lie in a plane, so that three of them may have any logits; of all such matrices the
    smallest."""
    wanted_TV = _t([*EARLIER, LOGITS])
    moved_TD = h_TD[:2] - h_TD[2]
    w["head.weight"] = (torch.linalg.pinv(moved_TD) @ (wanted_TV[:2] - wanted_TV[2])).T
    w["head.bias"] = wanted_TV[2] - w["head.weight"] @ h_TD[2]


def _t(numbers: object) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def tokenizer_json() -> str:
    """Five words, split at spaces."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer.to_str(pretty=True) + "\n"


def files() -> dict[str, bytes]:
    """All that lies in the folder but the published stages."""
    from archcalc import build, load
    from archcalc.checkpoint.native import file_contents

    spec = load("happy")
    model = build(spec, "cpu")
    model.load_state_dict(weights())
    config = json.dumps({"eos_token": "<EOS>"}) + "\n"
    return file_contents(model, spec) | {
        "tokenizer.json": tokenizer_json().encode(),
        "tokenizer_config.json": config.encode(),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
