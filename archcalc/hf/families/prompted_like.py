"""Decoders with learned rows before every text, which they read in both directions: CPM-Ant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import Config, ValueType
from archcalc.hf.families.llama_like import LLAMA
from archcalc.hf.families.mamba_like import UNBOUNDED
from archcalc.hf.family import derive
from archcalc.hf.lens import ConfigDraft, ConfigLens, ImpliedValue, Key, MismatchError
from archcalc.hf.spellings import Spelling
from archcalc.hf.tensors import TensorEntry, module, modules
from archcalc.hf.vocabulary import dropout, keys, rmsnorm, size

# The class reads the prompt and the segment of this number.
KIND = 2
MORE = ValueType(lambda value: type(value) is int and KIND < value <= 2**32, f"an integer from {KIND + 1} to {2**32}")
N_PROMPTS, N_SEGMENTS = Key("prompt_types", MORE, 32), Key("segment_types", MORE, 32)
LENGTH, HEADS, DROPOUT = size("prompt_length", 32), size("num_attention_heads", 32), dropout("dropout_p", 0.0)


@final
class PromptRows(ConfigLens, msgspec.Struct, frozen=True):
    """The soft prompt: a table of several prompts of one length, of which the class reads the third."""

    def names(self) -> Iterator[str]:
        """Yield the keys of the number of prompts and of their length."""
        yield from (*N_PROMPTS.names(), *LENGTH.names())

    def read(self, config: Config) -> dict[str, int]:
        """Return the prompt."""
        n, length = N_PROMPTS.read(config), LENGTH.read(config)
        return {"n_tokens": length, "n_rows": n * length, "first": KIND * length, "segment": 0}

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the number of prompts and their length. Raises MismatchError for other rows."""
        if not value or value["n_rows"] % value["n_tokens"]:
            raise MismatchError
        LENGTH.write(value["n_tokens"], draft)
        N_PROMPTS.write(value["n_rows"] // value["n_tokens"], draft)


ATTENTION = {f"attn.{name}": f"self_att.self_attention.project_{name}" for name in "qkv"}
TENSORS = (
    TensorEntry("cpmant.input_embedding.weight", ("embed.tokens.weight", "soft_prompt.weight")),
    TensorEntry("cpmant.position_bias.relative_attention_bias", ("relative_bias.weight",)),
    *module("embed.tables.segments", "cpmant.segment_embedding"),
    *modules(
        ATTENTION
        | {
            "attn.out": "self_att.self_attention.attention_out",
            "attn_norm": "self_att.layernorm_before_attention",
            "ffn_norm": "ffn.layernorm_before_ffn",
            "ffn.gate": "ffn.ffn.w_in.w_0",
            "ffn.up": "ffn.ffn.w_in.w_1",
            "ffn.down": "ffn.ffn.w_out",
        },
        "layers.{i}.",
        "cpmant.encoder.layers.{i}.",
    ),
    *module("final_norm", "cpmant.encoder.output_layernorm"),
    *module("head", "lm_head"),
)
CPMANT = derive(
    LLAMA,
    "cpmant",
    "CpmAntForCausalLM",
    vocab=30720,
    n_ctx=ImpliedValue(UNBOUNDED),
    depth=48,
    d_head=size("dim_head", 128),
    norm=rmsnorm(1e-6, "eps"),
    base_ffn={"kind": "gated", "d_ff": size("dim_ff", 10240), "activation": "gelu"},
    attention={
        "n_kv_heads": ImpliedValue(HEADS.read),
        "position": {
            "kind": "relative",
            "n_buckets": size("position_bias_num_buckets", 512),
            "max_distance": size("position_bias_max_distance", 2048),
            "n_segments": N_SEGMENTS,
        },
    },
    # The class never ties, whatever the config says.
    head={"tied": False},
    stack_fields={"reads_pass": True, "soft_prompt": PromptRows()},
    model_fields={"embedding": {"tables": ({"name": "segments", "n_rows": N_SEGMENTS, "default_row": KIND},)}},
    dropouts={"attention": DROPOUT, "residual": DROPOUT, "ffn": DROPOUT},
    tensors=(TENSORS,),
    spelling=Spelling(),
    irrelevant=keys("init_std tie_word_embeddings"),
    gguf=None,
)

FAMILIES = (CPMANT,)
