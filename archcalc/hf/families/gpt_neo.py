"""GPT-Neo: windows in every other layer, unscaled scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import msgspec

from archcalc.hf.config import MAX_LAYERS, SIZE, Config, ValueType
from archcalc.hf.family import Family
from archcalc.hf.lens import ConfigDraft, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Schedule, StackLens
from archcalc.hf.templates.gpt_like import SizeKeys, decoder_of, gpt_layer, inner
from archcalc.hf.tensors import module, modules, table
from archcalc.hf.vocabulary import activation, dropout, keys, layernorm, layers, size, tied

WORDS = ("global", "local")


def _is_pattern(value: Any) -> bool:
    """Return whether a value is [[[word, …], times], …]."""
    return isinstance(value, list) and all(
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], list)
        and all(word in WORDS for word in item[0])
        and SIZE.allows(item[1])
        and item[1] * len(item[0]) <= MAX_LAYERS
        for item in value
    )


PATTERN = ValueType(_is_pattern, "[[[global or local, …], times], …]")


@final
class AttentionTypeSchedule(Schedule, msgspec.Struct, frozen=True):
    """`attention_types`: words and how often they are repeated. `attention_layers` is the same list, expanded."""

    def names(self) -> Iterator[str]:
        """Yield both keys."""
        yield from ("attention_types", "attention_layers")

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return each layer's word. Raises InputError for another number of words than layers."""
        name = "attention_types"
        stated = config.data.get(name)
        pattern: list[Any] = [[list(WORDS), 12]] if stated is None else config.get(name, PATTERN)
        n_words = sum(len(words) * times for words, times in pattern)
        if n_words != n_layers:
            raise config.error(name, f"{n_words} layers", f"{n_layers}, as num_layers says")
        kinds: list[str] = [word for words, times in pattern for word in words * times]
        if config.data.get("attention_layers") not in (None, kinds):
            raise config.error("attention_layers", config.data["attention_layers"], "what attention_types says")
        return kinds

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Write the words, each once."""
        draft.put("attention_types", [[list(kinds), 1]])


SIZES = SizeKeys(
    size("vocab_size", 50257),
    size("max_position_embeddings", 2048),
    size("hidden_size", 2048),
    layers(24, "num_layers", aliases=("num_hidden_layers",)),
    size("num_heads", 16, aliases=("num_attention_heads",)),
)
NORM = layernorm(1e-5, "layer_norm_epsilon")


def layer(window: Any) -> Template:
    """Return a layer with or without a window."""
    return gpt_layer(
        SIZES,
        norm=NORM,
        attention={"out_bias": True, "scale": 1.0, "window": window},
        d_ff=inner(SIZES, "intermediate_size"),
        activation=activation("gelu_new", "activation_function"),
    )


TEMPLATE = decoder_of(
    SIZES,
    StackLens(
        SIZES.n_layers,
        {"global": layer(None), "local": layer(size("window_size", 256))},
        AttentionTypeSchedule(),
        {"position": {"kind": "learned"}, "final_norm": NORM},
    ),
    tied(True),
    {
        "embedding": dropout("embed_dropout", 0.0),
        "attention": dropout("attention_dropout", 0.0),
        "residual": dropout("resid_dropout", 0.0),
    },
)

TENSORS = table(
    modules({"embed.tokens": "wte", "positions": "wpe", "final_norm": "ln_f"}, name="transformer."),
    modules(
        {
            "attn.q": "attn.attention.q_proj",
            "attn.k": "attn.attention.k_proj",
            "attn.v": "attn.attention.v_proj",
            "attn.out": "attn.attention.out_proj",
            "attn_norm": "ln_1",
            "ffn.up": "mlp.c_fc",
            "ffn.down": "mlp.c_proj",
            "ffn_norm": "ln_2",
        },
        "layers.{i}.",
        "transformer.h.{i}.",
    ),
    module("head", "lm_head"),
)

FAMILIES = (
    Family(
        "gpt_neo",
        ("GPTNeoForCausalLM",),
        TEMPLATE,
        TENSORS,
        irrelevant=keys(
            "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout"
            " gradient_checkpointing"
        ),
        spelling=Spelling(
            renames={r"^(?=h\.|wte\.|wpe\.|ln_f\.)": "transformer."},
            copies={"lm_head.weight": "transformer.wte.weight"},
            unused={r"(.*\.)?attn\.attention\.(bias|masked_bias)": "the mask"},
        ),
    ),
)
