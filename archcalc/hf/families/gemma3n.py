"""Gemma 3n's text model: several residual streams, per-layer embeddings, and last layers that read others' keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import COUNT, LAYERS_OR_NONE, PROBABILITY, Config
from archcalc.hf.families.gemma4 import GGUF_PER_LAYER, GGUF_SHARED, PER_LAYER_TENSORS, UNUSED_KEYS, per_layer_keys
from archcalc.hf.families.llama_like import TANH, gemma3_kinds, root_of_width
from archcalc.hf.gguf_map import (
    BLOCK,
    HEAD_DIM,
    SIZES,
    UNPERMUTED_ENTRIES,
    WINDOW_PATTERN,
    GgufMap,
    value_of,
    window_words,
)
from archcalc.hf.lens import ConfigDraft, ConfigLens, Key, Template
from archcalc.hf.shared_keys import SharedKeys
from archcalc.hf.stack import INDEX, ListSchedule
from archcalc.hf.templates.decoder import BIASED, LAYER, WINDOWS, decoder
from archcalc.hf.tensors import TensorEntry, modules, table
from archcalc.hf.vocabulary import (
    LLAMA_ATTENTION,
    LLAMA_FFN,
    LLAMA_OUTSIDE,
    QK_NORMS,
    flag,
    keys,
    layers,
    positive,
    rmsnorm,
    size,
)
from archcalc.spec.model import Spec
from archcalc.spec.streams import AltUp

DEPTH = layers(35)
TYPES = ListSchedule(WINDOWS, lambda config, index: "sliding" if (index + 1) % 5 else "global")
SHARED = SharedKeys(TYPES, Key("num_kv_shared_layers", LAYERS_OR_NONE, 15), DEPTH)
SPARSITY = "activation_sparsity_pattern"


@final
class Sparsity(ConfigLens, msgspec.Struct, frozen=True):
    """The share of gates that are 0 in a layer: its item of the list, without a list 0.95 in the first 10 of more."""

    key: Key = Key(SPARSITY, PROBABILITY, None, null=None)

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield from self.key.names()

    def read(self, config: Config) -> float | None:
        """Return the share; None for 0."""
        share = self.key.read(config)
        if share is None:
            share = 0.95 if config.data[INDEX] < 10 < DEPTH.read(config) else 0.0
        return float(share) or None

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the layer's item."""
        draft.put(SPARSITY, 0.0 if value is None else value)


NORM: Template = rmsnorm(1e-6)
D_PER_LAYER = size("hidden_size_per_layer_input", 256)
LAUREL = {"kind": "plain", "d_ff": size("laurel_rank", 64), "activation": "identity"}
HALF = math.sqrt(0.5)


def to_branches(kind: str, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a layer with a low-rank arm beside attention, and a gate on its own embedding for the later streams."""
    is_shared = kind.endswith("_shared")
    attention = {"name": "attn", "part": layer["attention"], "norm_out": NORM}
    arms = (
        attention | {"reads": "shared" if is_shared else "stream"},
        {"name": "laurel", "part": LAUREL, "norm_out": NORM, "skip": True},
    )
    gate = {"kind": "per_layer_gate", "d_per_layer": D_PER_LAYER, "activation": TANH}
    branches = (
        {"norm_in": NORM, "arms": arms, "scale": HALF, "skip": HALF},
        {"norm_in": NORM, "arms": ({"name": "ffn", "part": layer["ffn"]},), "norm_out": NORM},
        {"arms": ({"name": "per_layer", "part": gate},), "norm_out": NORM, "joins": "later_streams"},
    )
    shares = {"weights": None, "keys_values": SHARED.lender(kind.removesuffix("_shared"))}
    return {"branches": branches} | ({"shares": shares} if is_shared else {})


def kinds() -> dict[str, dict[str, Any]]:
    """Return the fields of the attention of each kind of layers."""
    found = gemma3_kinds(size("sliding_window", 512))
    unused = {"k_bias": False, "v_bias": False, "v_norm": None}
    return found | {f"{kind}_shared": fields | unused for kind, fields in found.items()}


def gemma3n_gguf(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Return the kinds of layers, the shares of gates that are 0, and sizes of tables and of low-rank arms."""
    scales = value_of(header, SPARSITY_SCALE)
    low_rank = header.tensors.get("blk.0.laurel_l.weight")
    found = {
        "layer_types": window_words(header, 5),
        "intermediate_size": value_of(header, "feed_forward_length"),
        **({"laurel_rank": low_rank.shape[0]} if low_rank else {}),
        **per_layer_keys(header),
    }
    if isinstance(scales, list) and all(isinstance(scale, float) for scale in scales):
        # Files have the deviations below which a share of a normal distribution lies.
        found[SPARSITY] = [round((1 + math.erf(scale / math.sqrt(2))) / 2, 6) for scale in scales]
    return found


def stacked_streams(spec: Spec) -> tuple[TensorEntry, ...]:
    """Return the entries of the matrices between streams, which files stack."""
    streams = spec.decoder.streams if spec.decoder else None
    n_others = streams.n_streams - 1 if isinstance(streams, AltUp) else 1
    return tuple(
        TensorEntry(
            f"{name}.weight", tuple(f"streams.{ours}.{i}.weight" for i in range(n_others)), n_row_groups=n_others
        )
        for name, ours in (("altup_proj", "split"), ("altup_unembd_proj", "merge"))
    )


SPARSITY_SCALE = "activation_sparsity_scale"
GGUF = GgufMap(
    "gemma3n",
    {key: name for key, name in (SIZES | HEAD_DIM).items() if key != "feed_forward_length"}
    | {
        "attention.sliding_window": "sliding_window",
        "final_logit_softcapping": "final_logit_softcapping",
        "rope.freq_base_swa": "rope_local_base_freq",
        "altup.active_idx": "altup_active_idx",
        "altup.num_inputs": "altup_num_inputs",
    },
    table(
        GGUF_PER_LAYER,
        modules(
            {
                "attn_post_norm": "post_attention_norm",
                "ffn_out_norm": "post_ffw_norm",
                "laurel.up": "laurel_l",
                "laurel.down": "laurel_r",
                "laurel_post_norm": "laurel_post_norm",
                "streams.router": "altup_router",
                "streams.norm": "altup_router_norm",
                "streams.predict": "altup_predict_coef",
                "streams.correct": "altup_correct_coef",
            },
            *BLOCK,
        ),
        TensorEntry("blk.{i}.altup_correct_scale.weight", ("layers.{i}.streams.out_scale",)),
        UNPERMUTED_ENTRIES,
    ),
    of_spec=stacked_streams,
    config_keys=gemma3n_gguf,
    own_keys=("feed_forward_length", SPARSITY_SCALE, WINDOW_PATTERN, *GGUF_SHARED),
    unused=UNUSED_KEYS,
    origins={
        "layer_types": WINDOW_PATTERN,
        "intermediate_size": "feed_forward_length",
        SPARSITY: SPARSITY_SCALE,
        "num_kv_shared_layers": "attention.shared_kv_layers",
        "hidden_size_per_layer_input": "embedding_length_per_layer_input",
    },
)
GEMMA3N = decoder(
    "gemma3n_text",
    "Gemma3nForCausalLM",
    vocab=262400,
    n_ctx=32768,
    width=2048,
    depth=35,
    heads=8,
    kv=2,
    d_head=256,
    d_ff=16384,
    tie=True,
    act=TANH,
    norm=NORM,
    theta=1_000_000.0,
    rope={"layer_kind": "full_attention"},
    attention=BIASED | {"qk_norm": "head", "scale": 1.0, "v_norm": {**NORM, "weight": False}},
    ffn={"sparsity": Sparsity()},
    kinds=kinds(),
    schedule=SHARED,
    to_branches=to_branches,
    lists={"intermediate_size": "intermediate_size", SPARSITY: SPARSITY},
    by_index=True,
    stack_fields={
        "per_layer": {"d_per_layer": D_PER_LAYER, "n_rows": size("vocab_size_per_layer_input", 262144), "norm": NORM},
        "streams": {
            "kind": "altup",
            "n_streams": size("altup_num_inputs", 4),
            "active": Key("altup_active_idx", COUNT, 0),
            "norm": NORM,
            "out_scale": flag("altup_correct_scale", True),
        },
    },
    model_fields={"embedding": root_of_width(2048)},
    head={"softcap": positive("final_logit_softcapping", 30.0, null=None)},
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_ATTENTION,
        QK_NORMS,
        LLAMA_FFN,
        PER_LAYER_TENSORS,
        modules(
            {
                "attn_norm": "input_layernorm",
                "attn_post_norm": "post_attention_layernorm",
                "ffn_norm": "pre_feedforward_layernorm",
                "ffn_out_norm": "post_feedforward_layernorm",
                "laurel.up": "laurel.linear_left",
                "laurel.down": "laurel.linear_right",
                "laurel_post_norm": "laurel.post_laurel_norm",
                "streams.router": "altup.modality_router",
                "streams.norm": "altup.router_norm",
                "streams.predict": "altup.prediction_coefs",
                "streams.correct": "altup.correction_coefs",
            },
            *LAYER,
        ),
        TensorEntry("model.layers.{i}.altup.correct_output_scale", ("layers.{i}.streams.out_scale",)),
        TensorEntry("model.altup_projections.{i}.weight", ("streams.split.{i}.weight",)),
        TensorEntry("model.altup_unembed_projections.{i}.weight", ("streams.merge.{i}.weight",)),
    ),
    # A limit on weights in training, and a class that has no such switch.
    irrelevant=keys("altup_coef_clip hidden_act"),
    gguf=GGUF,
)

FAMILIES = (GEMMA3N,)
