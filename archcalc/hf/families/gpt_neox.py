"""GPT-NeoX and Pythia: both parts side by side, each after a norm of its own; a quarter of each head rotated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import msgspec

from archcalc.formats.gguf_file import Header
from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import (
    FUSED_QKV,
    KV_HEADS,
    LAYERNORM_SIZES,
    NORM_EPS,
    PARTIAL_ROTARY,
    UNPERMUTED_ENTRIES,
    GgufMap,
    partial_rotary,
    stored,
)
from archcalc.hf.lens import Cases, ConfigDraft, ConfigLens, Key, MismatchError, Template
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import MASKS, Spelling
from archcalc.hf.stack import Schedule, StackLens
from archcalc.hf.templates.gpt_like import SizeKeys, decoder_of, gpt_layer, gpt_like
from archcalc.hf.tensors import TensorEntry, TensorMap, fused_modules, module, modules, table
from archcalc.hf.vocabulary import QKV, activation, biases, dropout, flag, layernorm, layers, size, tied

NORM = layernorm(1e-5, "layer_norm_eps")
AROUND = {"final_norm": NORM}


def sizes_of(vocab_size: int, width: int, n_layers: int, n_heads: int) -> SizeKeys:
    """Return the sizes under GPT-NeoX's names."""
    return SizeKeys(
        size("vocab_size", vocab_size),
        size("max_position_embeddings", 2048),
        size("hidden_size", width),
        layers(n_layers),
        size("num_attention_heads", n_heads),
    )


def rope(sizes: SizeKeys, share: float) -> RopeLens:
    """Return rotary positions under GPT-NeoX's names."""
    return RopeLens(
        n_ctx=sizes.n_ctx,
        theta_key="rotary_emb_base",
        share_key="rotary_pct",
        default_share=share,
        head_width=sizes.head_width,
    )


def dropouts(attention: float) -> Template:
    """Return dropout; the hidden states' is that of the embedding too."""
    hidden = dropout("hidden_dropout", 0.0)
    return {"embedding": hidden, "attention": dropout("attention_dropout", attention), "residual": hidden}


def gpt_neox() -> Template:
    """Return GPT-NeoX's template."""
    sizes = sizes_of(50432, 6144, 44, 64)
    layer = gpt_layer(
        sizes,
        norm=NORM,
        placement=Cases(flag("use_parallel_residual", True), {True: "parallel_two", False: "pre"}),
        attention=biases(flag("attention_bias", True)) | {"position": rope(sizes, 0.25)},
        d_ff=size("intermediate_size", 24576),
        activation=activation("gelu"),
    )
    return gpt_like(sizes, layer, stack_fields=AROUND, head=tied(False), dropout=dropouts(0.0))


@final
class WidthMultiple(ConfigLens, msgspec.Struct, frozen=True):
    """A width that is stated as a whole multiple of another."""

    factor: Key
    width: Key

    def names(self) -> Iterator[str]:
        """Yield the factor's."""
        yield from self.factor.names()

    def read(self, config: Config) -> int:
        """Return the product."""
        return int(self.factor.read(config) * self.width.read(config))

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Write the factor."""
        width = draft[self.width.name]
        if value % width:
            raise MismatchError(self.factor.name)
        draft.put(self.factor.name, value // width)


@final
class LastLayerSchedule(Schedule, msgspec.Struct, frozen=True):
    """All layers are alike but the last."""

    def names(self) -> Iterator[str]:
        """Yield none."""
        yield from ()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return 'layer', then 'last'."""
        return ["layer"] * (n_layers - 1) + ["last"]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Write nothing: reading back shows whether they are."""


def japanese() -> Template:
    """Return GPT-NeoX-Japanese's template: one bias, on the output of the last layer's attention."""
    sizes = sizes_of(32000, 2560, 32, 32)

    def layer(out_bias: bool) -> Template:
        return gpt_layer(
            sizes,
            norm=NORM,
            attention={"out_bias": out_bias, "position": rope(sizes, 1.0)},
            d_ff=WidthMultiple(size("intermediate_multiple_size", 4), sizes.width),
            activation=activation("gelu"),
            ffn_bias=False,
        )

    stack = StackLens(sizes.n_layers, {"layer": layer(False), "last": layer(True)}, LastLayerSchedule(), AROUND)
    return decoder_of(sizes, stack, tied(True), dropouts(0.1))


def tensors(base: str, head: str, *first: TensorEntry) -> TensorMap:
    """Return the tensors under the base model's name; `first` are those of odd names."""
    return table(
        *first,
        modules({"embed.tokens": "embed_in", "final_norm": "final_layer_norm"}, name=f"{base}."),
        fused_modules(QKV, f"{base}.layers.{{i}}.attention.query_key_value", order="by_head"),
        modules(
            {
                "attn.out": "attention.dense",
                "attn_norm": "input_layernorm",
                "ffn.up": "mlp.dense_h_to_4h",
                "ffn.down": "mlp.dense_4h_to_h",
                "ffn_norm": "post_attention_layernorm",
            },
            "layers.{i}.",
            f"{base}.layers.{{i}}.",
        ),
        module("head", head),
    )


JAPANESE = tensors(
    "gpt_neox_japanese",
    "embed_out",
    TensorEntry("gpt_neox_japanese.layers.{i}.attention.dense_bias", ("layers.{i}.attn.out.bias",)),
)


def neox_gguf(header: Header, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotated share of a head, and whether queries, keys and values have biases."""
    share = partial_rotary(header, config).get("partial_rotary_factor")
    flags = stored(attention_bias="attn_qkv.bias")(header, {})
    return flags | ({} if share is None else {"rotary_pct": share})


GGUF = GgufMap(
    "gptneox",
    {key: name for key, name in LAYERNORM_SIZES.items() if key != KV_HEADS}
    | {NORM_EPS: "layer_norm_eps", "use_parallel_residual": "use_parallel_residual"},
    table(FUSED_QKV, UNPERMUTED_ENTRIES),
    config_keys=neox_gguf,
    own_keys=(PARTIAL_ROTARY, KV_HEADS),
)

FAMILIES = (
    Family(
        "gpt_neox",
        ("GPTNeoXForCausalLM",),
        gpt_neox(),
        tensors("gpt_neox", "lm_head"),
        spelling=Spelling(
            renames={r"^embed_out\.": "lm_head."}, copies={"lm_head.weight": "gpt_neox.embed_in.weight"}, unused=MASKS
        ),
        gguf=GGUF,
    ),
    Family(
        "gpt_neox_japanese",
        ("GPTNeoXJapaneseForCausalLM",),
        japanese(),
        JAPANESE,
        spelling=Spelling(copies={"embed_out.weight": "gpt_neox_japanese.embed_in.weight"}, unused=MASKS),
    ),
)
