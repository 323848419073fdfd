"""Recognize JSON files that are neither a spec nor a config with a model type, and say what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.words import Message, joined, msg

Data = Mapping[str, Any]

_ADVICE = msg("Give the config.json beside it")


def _adapter(data: Data) -> Message:
    base = data.get("base_model_name_or_path")
    model = shown(base) if isinstance(base, str) and base else msg("its base model")
    return msg(
        "is an adapter_config.json, which describes an adapter and not a model. Give {model} instead; `memory` counts "
        "adapters",
        model=model,
    )


def _constant(message: Message) -> Callable[[Data], Message]:
    return lambda data: message.fill(advice=_ADVICE)


# The keys of each kind of file, all of which it has, and what to say of it.
_FILES: tuple[tuple[tuple[str, ...], Callable[[Data], Message]], ...] = (
    (("peft_type",), _adapter),
    (("base_model_name_or_path",), _adapter),
    (
        ("dim", "n_layers", "n_heads"),
        _constant(
            msg("is a params.json of the original weights. Give the config.json of the same model in Hugging Face form")
        ),
    ),
    (("weight_map",), _constant(msg("is an index of weight files. {advice}"))),
    (
        ("version", "model", "added_tokens"),
        _constant(msg("is a tokenizer.json, which describes a tokenizer. {advice}")),
    ),
    (
        ("_class_name",),
        _constant(msg("is a file of diffusers, which archcalc does not read. Give a transformer's config.json")),
    ),
)
# Files whose keys configs have too; these files state no sizes.
_SIZELESS: tuple[tuple[tuple[str, ...], Callable[[Data], Message]], ...] = (
    (("bits", "group_size"), _constant(msg("is a quantize_config.json, which says how weights are stored. {advice}"))),
    (("quant_method",), _constant(msg("is a quantization config, which says how weights are stored. {advice}"))),
    (("tokenizer_class",), _constant(msg("is a tokenizer_config.json, which describes a tokenizer. {advice}"))),
    (("eos_token_id",), _constant(msg("is a generation_config.json, which says how text is generated. {advice}"))),
    (("eos_token",), _constant(msg("is a file of a tokenizer. {advice}"))),
)
_SIZES = {"hidden_size", "n_embd", "n_embed", "d_model", "dim", "emb_dim", "num_hidden_layers", "n_layer", "num_layers"}
# Model types to suggest: the best known of those whose configs have the same keys.
_EXAMPLES = ("llama", "bert", "gpt2", "qwen3_moe", "t5", "bart", "mixtral", "deepseek_v3")


def check(data: Data) -> None:
    """Raise InputError, saying what the file is, if the data cannot be a spec's document."""
    has_sizes = bool(_SIZES & data.keys())
    for keys, sentence in _FILES if has_sizes else (*_FILES, *_SIZELESS):
        if data.keys() >= set(keys):
            raise InputError(sentence(data))
    if has_sizes or "architectures" in data:
        raise InputError(msg("is missing. {model_type}", model_type=_model_type(data)), where="model_type")


def _model_type(data: Data) -> Message:
    """Return advice on which model type to add."""
    from archcalc.hf import classes, upstream

    name = classes.class_name(data)
    if name and (types := upstream.types_of(name)):
        return msg('Add "model_type": {types}, which has the class {name}', types=_type_names(types), name=name)
    return msg('Add one, for example "model_type": "{model_type}"', model_type=_likely_type(data))


def _type_names(types: list[str]) -> Message:
    first = [name for name in _EXAMPLES if name in types]
    return joined(msg(" or "), [f'"{name}"' for name in (first[:1] or types[:3])])


def _likely_type(data: Data) -> str:
    """Return the model type whose class knows most of the keys."""
    from archcalc.hf import upstream

    return max(_EXAMPLES, key=lambda name: len(upstream.keys(name).keys() & data.keys()))
