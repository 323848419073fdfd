"""T5Gemma: an encoder and a decoder like Gemma 2, each with its own config, widths and token table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, final

import msgspec

from archcalc.hf.config import Config
from archcalc.hf.families.llama_like import GEMMA_NORM, TANH, score_width, window
from archcalc.hf.family import Family
from archcalc.hf.heads import EVERY_TOKEN, LABELS, scores
from archcalc.hf.lens import ConfigDraft, ConfigLens, Conversion, ImpliedValue, Template, names
from archcalc.hf.nested_keys import NestedConstraint, NestedTemplate
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import StackLens
from archcalc.hf.templates.decoder import BIASED, windows
from archcalc.hf.tensors import TensorEntry, module, modules, table
from archcalc.hf.vocabulary import dropout, keys, layers, positive, size, tied

VOCABULARY, WIDTH, N_CTX = size("vocab_size", 256000), size("hidden_size", 2304), size("max_position_embeddings", 8192)
SCALE = ImpliedValue(lambda config: math.sqrt(WIDTH.read(config)))
# What an encoder may have of its own; left out, it is the decoder's.
OWN = {"vocab_size": VOCABULARY, "n_ctx": N_CTX, "d_model": WIDTH}
# The mask for both ways includes tokens at a distance of the window.
BOTH_WAYS = Conversion(window(4096), lambda n: n + 1, lambda n: n - 1)


def stack(sliding: ConfigLens, crosses: bool, own: Template) -> StackLens:
    """Return a stack of alternating layers, with a window and without; `own` are its further fields."""
    attention = {
        "kind": "gqa",
        "n_heads": size("num_attention_heads", 8),
        "n_kv_heads": size("num_key_value_heads", 4),
        "d_head": size("head_dim", 256),
        **BIASED,
        "softcap": positive("attn_logit_softcapping", 50.0, null=None),
        "scale": Conversion(positive("query_pre_attn_scalar", 256), lambda width: width**-0.5, score_width),
    }
    ffn = {"kind": "gated", "d_ff": size("intermediate_size", 9216), "activation": TANH}
    layer = {"norm": GEMMA_NORM, "placement": "sandwich", "cross": attention if crosses else None, "ffn": ffn}
    kinds = {
        kind: layer | {"attention": attention | {"position": RopeLens(n_ctx=N_CTX), "window": n_tokens}}
        for kind, n_tokens in {"global": None, "sliding": sliding}.items()
    }
    return StackLens(layers(26), kinds, windows(2), {"final_norm": GEMMA_NORM, **own})


ENCODER = stack(BOTH_WAYS, False, {"embedding": {"scale": SCALE}, **OWN})
ENCODER_ALONE, DECODER = stack(BOTH_WAYS, False, {}), stack(window(4096), True, {})


@final
class OwnEncoder(ConfigLens, msgspec.Struct, frozen=True):
    """The encoder, whose sizes are left out of a spec where they are the decoder's."""

    def names(self) -> Iterator[str]:
        """Yield the key of its config."""
        yield "encoder"

    def read(self, config: Config) -> Any:
        """Return the encoder."""
        return NestedTemplate("encoder", ENCODER).read(config)

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put its config; the decoder's must be in the draft already."""
        sizes = {field: key.name for field, key in OWN.items()}
        left_out = {field: draft["decoder"][name] for field, name in sizes.items() if value[field] is None}
        NestedTemplate("encoder", ENCODER).write(value | left_out, draft)


@final
class NoDecoder(ConfigLens, msgspec.Struct, frozen=True):
    """Nothing, where the class of the encoder alone asks its config for one key."""

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield "is_encoder_decoder"

    def read(self, config: Config) -> None:
        """Return None."""

    def write(self, value: Any, draft: ConfigDraft) -> None:
        """Put the key."""
        draft.put("is_encoder_decoder", False)


def of_decoder(template: Template) -> NestedTemplate:
    """Return the template of keys in the decoder's config."""
    return NestedTemplate("decoder", template)


def module_keys(name: str, template: Template) -> NestedConstraint:
    """Return the check of a stack's config. The whole model's keys decide its dropout and its tie."""
    ignored = keys("attention_dropout cross_attention_hidden_size dropout_rate is_decoder final_logit_softcapping")
    return NestedConstraint(name, (), known=frozenset(names(template)), irrelevant=ignored)


NAMES = {
    "attn_norm": "pre_self_attn_layernorm",
    "attn_out_norm": "post_self_attn_layernorm",
    "cross_norm": "pre_cross_attn_layernorm",
    "cross_out_norm": "post_cross_attn_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_out_norm": "post_feedforward_layernorm",
    **{f"ffn.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
    **{
        f"{arm}.{ours}": f"{theirs}.{name}_proj"
        for arm, theirs in {"attn": "self_attn", "cross": "cross_attn"}.items()
        for ours, name in {"q": "q", "k": "k", "v": "v", "out": "o"}.items()
    },
}


def stack_tensors(role: str) -> tuple[TensorEntry, ...]:
    """Return the tensors of a stack."""
    return (
        *modules(NAMES, f"{role}.layers.{{i}}.", f"model.{role}.layers.{{i}}."),
        *module(f"{role}.final_norm", f"model.{role}.norm"),
    )


RATE = dropout("dropout_rate", 0.0)
T5GEMMA = Family(
    "t5gemma",
    ("T5GemmaForConditionalGeneration",),
    {
        "vocab_size": of_decoder(VOCABULARY),
        "n_ctx": of_decoder(N_CTX),
        "d_model": of_decoder(WIDTH),
        "embedding": of_decoder({"scale": SCALE}),
        "decoder": of_decoder(DECODER),
        "encoder": OwnEncoder(),
        "head": tied(True) | {"softcap": of_decoder(positive("final_logit_softcapping", 30.0, null=None))},
        "dropout": {"embedding": RATE, "residual": RATE, "attention": dropout("attention_dropout", 0.0)},
    },
    table(
        module("embed.tokens", "model.decoder.embed_tokens"),
        module("encoder.embed.tokens", "model.encoder.embed_tokens"),
        stack_tensors("encoder"),
        stack_tensors("decoder"),
        module("head", "lm_head.out_proj"),
    ),
    constraints=(module_keys("encoder", ENCODER), module_keys("decoder", (DECODER, VOCABULARY, WIDTH, N_CTX))),
    irrelevant=keys("vocab_size classifier_dropout_rate attention_bias"),
    is_encoder_decoder=True,
    spelling=Spelling(copies={"lm_head.out_proj.weight": "model.decoder.embed_tokens.weight"}),
    class_heads={
        "EncoderModel": {
            "head": None,
            "decoder": NoDecoder(),
            "encoder": NestedTemplate("encoder", ENCODER_ALONE),
            "embedding": NestedTemplate("encoder", {"scale": SCALE}),
            **{field: NestedTemplate("encoder", key) for field, key in OWN.items()},
        },
        "ForSequenceClassification": {"head": scores(LABELS, reads="last", picks="after")},
        "ForTokenClassification": EVERY_TOKEN,
    },
)

FAMILIES = (T5GEMMA,)
