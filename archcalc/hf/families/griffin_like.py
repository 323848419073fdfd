"""Decoders whose layers have windowed attention or a gated linear recurrence: RecurrentGemma."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, final

import msgspec

from archcalc.hf.config import WORDS, Config
from archcalc.hf.families.llama_like import GEMMA_NORM
from archcalc.hf.families.mamba_like import UNBOUNDED
from archcalc.hf.lens import ConfigDraft, ConfigLens, Constraint, Conversion, ImpliedValue, Key, MismatchError
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import Schedule
from archcalc.hf.templates.decoder import decoder
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import activation, flag, keys, positive, size

WIDTH, N_HEADS = size("hidden_size", 2560), size("num_attention_heads", 10)
LRU_WIDTH = size("lru_width", WIDTH.read, null=WIDTH.read)
BIAS = flag("attention_bias", False)
MIXER = "model.layers.{i}.temporal_block."


@final
class BlockWidth(ConfigLens, msgspec.Struct, frozen=True):
    """The channels of a block: as many blocks as heads share the recurrence's width."""

    width: Key
    blocks: Key

    def names(self) -> Iterator[str]:
        """Yield the spellings of the width."""
        yield from self.width.names()

    def read(self, config: Config) -> int:
        """Return the channels of a block. Raises InputError if the blocks would not be equal."""
        width, n_blocks = self.width.read(config), self.blocks.read(config)
        if width % n_blocks:
            raise config.error(self.width.name, width, f"a multiple of {self.blocks.name}, {n_blocks}")
        return int(width // n_blocks)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the width. The number of heads must be in the draft already."""
        draft.put(self.width.name, value * draft[self.blocks.name])


@final
class RepeatedSchedule(Schedule, msgspec.Struct, frozen=True):
    """`block_types`: words that are repeated until every layer has one."""

    key: Key
    kinds: tuple[str, str] = ("recurrent", "attention")

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield from self.key.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind of each layer; the class takes every other word than 'recurrent' for attention."""
        words = self.key.read(config)
        unknown = next((word for word in words if word not in self.kinds), None)
        if unknown is not None or not words:
            raise config.error(self.key.name, unknown or list(words), f"a list of {' and '.join(self.kinds)}")
        return [words[index % len(words)] for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put a word for each layer."""
        if not set(kinds) <= set(self.kinds):
            raise MismatchError(self.key.name)
        draft.put(self.key.name, list(kinds))


def rounded_root(config: Config) -> float:
    """Return the root of the width as the class has it: rounded to bfloat16, half to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", math.sqrt(WIDTH.read(config))))
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return float(struct.unpack("<f", struct.pack("<I", rounded))[0])


ACTIVATION = activation("gelu_pytorch_tanh", "hidden_activation")
RECURRENT_GEMMA = decoder(
    "recurrent_gemma",
    "RecurrentGemmaForCausalLM",
    vocab=256000,
    n_ctx=ImpliedValue(UNBOUNDED),
    width=2560,
    depth=26,
    heads=10,
    norm=GEMMA_NORM,
    partial=0.5,
    tie=True,
    attention={
        "q_bias": BIAS,
        "k_bias": BIAS,
        "v_bias": BIAS,
        "out_bias": True,
        "window": size("attention_window_size", 2048, aliases=("sliding_window",)),
    },
    kinds={"attention": {}},
    mixers={
        "recurrent": {
            "kind": "rg_lru",
            "n_blocks": N_HEADS,
            "d_block": BlockWidth(LRU_WIDTH, N_HEADS),
            "d_conv": size("conv1d_width", 4),
            "activation": ACTIVATION,
        }
    },
    schedule=RepeatedSchedule(Key("block_types", WORDS, ("recurrent", "recurrent", "attention"))),
    base_ffn={
        "kind": "gated",
        # The class halves the stated width.
        "d_ff": Conversion(size("intermediate_size", 7680), lambda width: width // 2, lambda width: 2 * width),
        "activation": ACTIVATION,
        "bias": True,
    },
    head={"softcap": positive("logits_soft_cap", 30.0)},
    model_fields={"embedding": {"scale": ImpliedValue(rounded_root)}},
    tensors=(
        modules({"embed.tokens": "embed_tokens", "final_norm": "final_norm"}, name="model."),
        module("head", "lm_head"),
        modules(
            {
                "attn_norm": "temporal_pre_norm",
                "mixer_norm": "temporal_pre_norm",
                "ffn_norm": "channel_pre_norm",
                "ffn.gate": "mlp_block.gate_proj",
                "ffn.up": "mlp_block.up_proj",
                "ffn.down": "mlp_block.down_proj",
            },
            "layers.{i}.",
            "model.layers.{i}.",
        ),
        modules({"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "o_proj"}, "layers.{i}.attn.", MIXER),
        modules(
            {"gate": "linear_y", "in": "linear_x", "conv": "conv_1d", "out": "linear_out"}, "layers.{i}.mixer.", MIXER
        ),
        *(
            TensorEntry(f"{MIXER}rg_lru.{name}", (f"layers.{{i}}.mixer.{ours}",))
            for name, ours in {
                "input_gate_weight": "input_gate",
                "input_gate_bias": "input_gate_bias",
                "recurrent_gate_weight": "decay_gate",
                "recurrent_gate_bias": "decay_gate_bias",
                "recurrent_param": "decay_rate",
            }.items()
        ),
    ),
    # How weights are initialized, and what says the same again.
    constraints=(Constraint("_block_types", (["recurrent", "recurrent", "attention"],)),),
    irrelevant=keys("w_init_variance_scale final_w_init_variance_scale embeddings_scale_by_sqrt_dim"),
    spelling=TIED,
)

FAMILIES = (RECURRENT_GEMMA,)
