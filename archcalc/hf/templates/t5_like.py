"""T5-like encoder-decoders: relative biases, unscaled scores, RMSNorms before each part, no biases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import FLAG, TEXT, Config
from archcalc.hf.family import Family
from archcalc.hf.gguf_map import GgufMap
from archcalc.hf.lens import Cases, Choice, ConfigDraft, ConfigLens, Constraint, Key, Template, read, write
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import StackLens
from archcalc.hf.tensors import TensorEntry, TensorMap, module, modules, table
from archcalc.hf.vocabulary import ACTIVATIONS, dropout, layers, rmsnorm, size

WIDTH = size("d_model", 512, aliases=("hidden_size",))
NORM = rmsnorm(1e-6, "layer_norm_epsilon")
SPELLING = Spelling(
    copies={f"{part}.weight": "shared.weight" for part in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")},
    # transformers 5 ties every head of T5 and does not save it.
    absent={"lm_head.weight": "shared.weight"},
    unused={r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": "never read"},
)


class T5Defaults(msgspec.Struct, frozen=True):
    """Defaults of a T5-like class."""

    vocab_size: int
    d_ff: int
    n_layers: int
    n_heads: int
    feed_forward: str


@final
class T5FeedForward(ConfigLens, msgspec.Struct, frozen=True):
    """A feed-forward whose kind and activation are one word. Two more keys may override it."""

    d_ff: Key
    default: str

    def names(self) -> Iterator[str]:
        """Yield the keys."""
        yield from self.d_ff.names()
        yield from ("feed_forward_proj", "is_gated_act", "dense_act_fn")

    def read(self, config: Config) -> Any:
        """Return a feed-forward."""
        ffn = read(self._by_word(), config)
        is_gated = Key("is_gated_act", FLAG, ffn["kind"] == "gated").read(config)
        kind = {"kind": "gated" if is_gated else "plain"}
        if "dense_act_fn" in config.data:
            kind["activation"] = Choice(Key("dense_act_fn", TEXT), ACTIVATIONS).read(config)
        return ffn | kind

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the word."""
        write(self._by_word(), value, draft)

    def _by_word(self) -> Template:
        plain = {word: {"kind": "plain", "d_ff": self.d_ff, "activation": ours} for word, ours in ACTIVATIONS.items()}
        # In a gated feed-forward only, the word gelu means the tanh approximation.
        meanings = ACTIVATIONS | {"gelu": "gelu_tanh"}
        gated = {f"gated-{word}": {"kind": "gated", "d_ff": self.d_ff, "activation": a} for word, a in meanings.items()}
        cases = plain | gated
        return Cases(Choice(Key("feed_forward_proj", TEXT, self.default), {word: word for word in cases}), cases)


def template(defaults: T5Defaults, head: Template, shared: str) -> dict[str, Template]:
    """Return a type's template. `shared`: one table of biases for each 'stack', or for each 'layer'."""
    ffn = T5FeedForward(size("d_ff", defaults.d_ff), defaults.feed_forward)
    depth = layers(defaults.n_layers, "num_layers", aliases=("num_hidden_layers",))
    attention: dict[str, Any] = {
        "kind": "gqa",
        "n_heads": size("num_heads", defaults.n_heads, aliases=("num_attention_heads",)),
        "d_head": size("d_kv", 64, aliases=("head_dim",)),
        "scale": 1.0,
    }
    position = {
        "kind": "relative",
        "n_buckets": size("relative_attention_num_buckets", 32),
        "max_distance": size("relative_attention_max_distance", 128),
        "shared": shared,
    }
    layer = {"norm": NORM, "attention": attention | {"position": position}}
    stack_fields = {"final_norm": NORM}
    return {
        "vocab_size": size("vocab_size", defaults.vocab_size),
        # The training length: relative biases set no limit.
        "n_ctx": size("n_positions", 512),
        "d_model": WIDTH,
        "encoder": StackLens(count=depth, kinds={"layer": layer | {"ffn": ffn}}, stack_fields=stack_fields),
        "decoder": StackLens(
            count=layers(depth.read, "num_decoder_layers", null=depth.read),
            kinds={"layer": layer | {"cross": attention, "ffn": ffn}},
            stack_fields=stack_fields,
        ),
        "head": head,
        "dropout": dict.fromkeys(("embedding", "attention", "residual", "ffn"), dropout("dropout_rate", 0.1)),
    }


def tensors(encoder: str = "SelfAttention") -> TensorMap:
    """Return the tensors; `encoder` is the name of the encoder's attention."""
    return table(
        module("embed.tokens", "shared"),
        _stack("encoder", {"attn": f"0.{encoder}"}, ffn=1),
        _stack("decoder", {"attn": "0.SelfAttention", "cross": "1.EncDecAttention"}, ffn=2),
        module("head", "lm_head"),
    )


def _stack(stack: str, parts: dict[str, str], ffn: int) -> tuple[TensorEntry, ...]:
    """Return a stack's tensors. The feed-forward is part number `ffn` of a layer."""
    layer, block = f"{stack}.layers.{{i}}.", f"{stack}.block.{{i}}.layer."
    attention = {
        f"{part}.{name}": f"{theirs}.{name[0]}" for part, theirs in parts.items() for name in ("q", "k", "v", "out")
    }
    norms = {f"{part}_norm": theirs.split(".")[0] + ".layer_norm" for part, theirs in parts.items()}
    dense = f"{ffn}.DenseReluDense."
    bias = f"layer.{parts['attn']}.relative_attention_bias"
    return (
        *modules(attention | norms | {"ffn_norm": f"{ffn}.layer_norm"}, layer, block),
        *modules({"ffn.gate": f"{dense}wi_0"}, layer, block),
        *modules({"ffn.up": f"{dense}wi_1"}, layer, block, requires=f"{layer}ffn.gate.weight"),
        *modules({"ffn.up": f"{dense}wi", "ffn.down": f"{dense}wo"}, layer, block),
        *module(f"{layer}attn.relative_bias", f"{stack}.block.{{i}}.{bias}"),
        *module(f"{stack}.relative_bias", f"{stack}.block.0.{bias}"),
        *module(f"{stack}.final_norm", f"{stack}.final_layer_norm"),
    )


def t5_like(
    model_type: str,
    classes: tuple[str, ...],
    defaults: T5Defaults,
    head: Template,
    shared: str = "stack",
    gguf: GgufMap | None = None,
) -> Family:
    """Return the row of a model type."""
    return Family(
        model_type,
        classes,
        template(defaults, head, shared),
        tensors(),
        (Constraint("is_decoder", (False,)),),
        is_encoder_decoder=True,
        spelling=SPELLING,
        gguf=gguf,
    )
