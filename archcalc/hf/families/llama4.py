"""Llama 4: chunked attention with rotary positions in most layers, full attention without them in the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import FLAG, INDICES, LAYERS_OR_NONE, SIZE, Config, ValueType
from archcalc.hf.families.moe_like import DOWN, GATE, UP, experts
from archcalc.hf.gguf_map import HEAD_DIM, SIZES, UNPERMUTED, GgufMap, stored
from archcalc.hf.lens import Cases, ConfigDraft, Conversion, Key
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import ListSchedule, Schedule
from archcalc.hf.templates.decoder import BIASED, decoder
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_NORMS,
    LLAMA_OUTSIDE,
    activation,
    flag,
    positive,
    rmsnorm,
    size,
)

_TYPES = {"chunked_attention": "chunked", "full_attention": "full"}


@final
class Llama4Schedule(Schedule, msgspec.Struct, frozen=True):
    """Three lists: `no_rope_layers` (1 for a layer with rotary positions), `layer_types`, `moe_layers`.

    By default one layer in four has no rotary positions, and all others are chunked.
    """

    rope: str = "no_rope_layers"
    interval: Key = Key("no_rope_layer_interval", SIZE, 4)
    types: str = "layer_types"
    sparse: str = "moe_layers"
    step: Key = Key("interleave_moe_layer_step", SIZE, 1)

    def names(self) -> Iterator[str]:
        """Yield the keys of the lists and of their defaults."""
        yield from (self.rope, self.interval.name, self.types, self.sparse, self.step.name)

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return a kind such as 'rotary_chunked_moe' for each layer."""
        rotates = self._rotates(config, n_layers)
        types = ListSchedule(_TYPES, lambda _, index: "chunked" if rotates[index] else "full", key=self.types)
        step = self.step.read(config)
        sparse = config.data.get(self.sparse)
        sparse = range(step - 1, n_layers, step) if sparse is None else config.get(self.sparse, INDICES)
        return [
            "_".join(("rotary" if rotates[i] else "bare", kind, "moe" if i in sparse else "dense"))
            for i, kind in enumerate(types.read(config, n_layers))
        ]

    def _rotates(self, config: Config, n_layers: int) -> list[int]:
        """Return 1 for a layer with rotary positions, else 0. An empty list means the default."""
        stated = config.data.get(self.rope)
        if stated is None or stated == []:
            interval = self.interval.read(config)
            return [int((index + 1) % interval != 0) for index in range(n_layers)]
        rotates: list[int] = config.get(self.rope, INDICES)
        if len(rotates) != n_layers or not set(rotates) <= {0, 1}:
            raise config.error(
                self.rope, rotates, f"{n_layers} numbers, 1 for a layer with rotary positions, 0 for one without"
            )
        return rotates

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put the three lists."""
        words = {kind: word for word, kind in _TYPES.items()}
        parts = [kind.split("_") for kind in kinds]
        draft.put(self.rope, [int(position == "rotary") for position, _, _ in parts])
        draft.put(self.types, [words[kind] for _, kind, _ in parts])
        draft.put(self.sparse, [index for index, (_, _, ffn) in enumerate(parts) if ffn == "moe"])


# The scale of the queries of layers without rotary positions; some files say a number in place of true.
TUNED = Conversion(
    Key(
        "attn_temperature_tuning",
        ValueType(lambda value: FLAG.allows(value) or LAYERS_OR_NONE.allows(value), "true or false"),
        True,
    ),
    bool,
    bool,
)
TEMPERATURE = {
    "kind": "log",
    "factor": positive("attn_scale", 0.1),
    "n_tokens": size("floor_scale", 8192),
    "from_one": True,
}
# The norm of queries and keys has no weights, and is where positions are rotated.
L2_NORM = {"norm": rmsnorm(1e-5, weight=False), "over": "head", "when": "after"}
POSITIONS: dict[str, dict[str, Any]] = {
    "rotary": {"qk_norm": Cases(flag("use_qk_norm", True), {True: L2_NORM, False: None})},
    "bare": {"position": None, "temperature": Cases(TUNED, {True: TEMPERATURE, False: None})},
}
WINDOWS: dict[str, dict[str, Any]] = {
    "full": {"window": None},
    "chunked": {"window": size("attention_chunk_size", 8192), "window_kind": "chunked"},
}
DENSE = {"kind": "gated", "d_ff": size("intermediate_size_mlp", 16384), "activation": activation("silu")}
EXPERTS = experts(
    size("num_local_experts", 16),
    size("num_experts_per_tok", 1),
    size("intermediate_size", 8192),
    choose="logits",
    weigh="sigmoid",
    weight_on="input",
    n_shared=1,
)
KINDS = list(product(POSITIONS, WINDOWS, ("dense", "moe")))
FEED_FORWARD = "model.layers.{i}.feed_forward."
MATRICES = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def llama4_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether queries are normed: not in the model of 128 experts (llama.cpp src/models/llama4.cpp)."""
    return {
        "use_qk_norm": config.get("num_local_experts") != 128,
        **stored(attention_bias="attn_q.bias")(header, {}),
    }


LLAMA4 = decoder(
    "llama4_text",
    "Llama4ForCausalLM",
    vocab=202048,
    n_ctx=131072,
    width=5120,
    depth=48,
    heads=40,
    kv=8,
    d_head=size("head_dim", 128),
    norm=rmsnorm(1e-5),
    theta=500_000.0,
    rope={"interleaved": True},
    attention=BIASED,
    kinds={"_".join(kind): POSITIONS[kind[0]] | WINDOWS[kind[1]] for kind in KINDS},
    ffn_kinds={"_".join(kind): DENSE if kind[2] == "dense" else EXPERTS for kind in KINDS},
    schedule=Llama4Schedule(),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        LLAMA_NORMS,
        modules(MATRICES, "layers.{i}.ffn.", FEED_FORWARD),
        module("layers.{i}.ffn.router", f"{FEED_FORWARD}router"),
        # Stored [in, out].
        TensorEntry(f"{FEED_FORWARD}experts.gate_up_proj", (f"{GATE}.weight", f"{UP}.weight"), axis=1, transposed=True),
        TensorEntry(f"{FEED_FORWARD}experts.down_proj", (f"{DOWN}.weight",), transposed=True),
        modules(MATRICES, "layers.{i}.ffn.shared.", f"{FEED_FORWARD}shared_expert."),
    ),
    spelling=TIED,
    runs_all_experts=True,
    gguf=GgufMap(
        "llama4",
        SIZES
        | HEAD_DIM
        | {
            "feed_forward_length": "intermediate_size_mlp",
            "expert_count": "num_local_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "intermediate_size",
            "interleave_moe_layer_step": "interleave_moe_layer_step",
        },
        UNPERMUTED,
        config_keys=llama4_gguf,
        has_rope_factors=True,
        values={"leading_dense_block_count": (0,), "expert_swa": (True,)},
    ),
)

FAMILIES = (LLAMA4,)
