"""What a JSON file is that is neither a spec nor a config with a model type, in a sentence for its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archcalc.errors import InputError, shown
from archcalc.words import msg

Data = Mapping[str, Any]

_BESIDE = "Give the config.json beside it"


def _adapter(data: Data) -> str:
    base = data.get("base_model_name_or_path")
    model = shown(base) if isinstance(base, str) and base else "its base model"
    return f"is an adapter_config.json, which describes an adapter and not a model. Give {model} instead"


def _says(text: str) -> Callable[[Data], str]:
    return lambda data: text


# Keys that a file has all of, and what such a file is.
_FILES: tuple[tuple[tuple[str, ...], Callable[[Data], str]], ...] = (
    (("peft_type",), _adapter),
    (("base_model_name_or_path",), _adapter),
    (
        ("dim", "n_layers", "n_heads"),
        _says("is a params.json of the original weights. Give the config.json of the same model in Hugging Face form"),
    ),
    (("weight_map",), _says(f"is an index of weight files. {_BESIDE}")),
    (("version", "model", "added_tokens"), _says(f"is a tokenizer.json, which describes a tokenizer. {_BESIDE}")),
    (("_class_name",), _says("is a file of diffusers, which archcalc does not read. Give a transformer's config.json")),
)
# The same of files whose keys stand in configs too: they lack every size.
_SIZELESS: tuple[tuple[tuple[str, ...], Callable[[Data], str]], ...] = (
    (("bits", "group_size"), _says(f"is a quantize_config.json, which says how weights are stored. {_BESIDE}")),
    (("quant_method",), _says(f"is a quantization config, which says how weights are stored. {_BESIDE}")),
    (("tokenizer_class",), _says(f"is a tokenizer_config.json, which describes a tokenizer. {_BESIDE}")),
    (("eos_token_id",), _says(f"is a generation_config.json, which says how text is generated. {_BESIDE}")),
    (("eos_token",), _says(f"is a file of a tokenizer. {_BESIDE}")),
)
_SIZES = {"hidden_size", "n_embd", "n_embed", "d_model", "dim", "emb_dim", "num_hidden_layers", "n_layer", "num_layers"}
# Of model types whose configs have the same keys, the best known is the example.
_EXAMPLES = ("llama", "bert", "gpt2", "qwen3_moe", "t5", "bart", "mixtral", "deepseek_v3")


def check(data: Data) -> None:
    """Raise InputError, saying what the file is, for data that cannot be a spec's document."""
    has_sizes = bool(_SIZES & data.keys())
    for keys, sentence in _FILES if has_sizes else (*_FILES, *_SIZELESS):
        if data.keys() >= set(keys):
            raise InputError(sentence(data))
    if has_sizes or "architectures" in data:
        raise InputError(msg("is missing. {model_type}", model_type=_model_type(data)), where="model_type")


def _model_type(data: Data) -> str:
    """Return the advice which model type to add."""
    from archcalc.hf import classes, upstream

    stated = classes.stated(data)
    if stated and (types := upstream.types_of(stated)):
        return f'Add "model_type": {_quoted(types)}, which has the class {stated}'
    return f'Add one, for example "model_type": "{_likely(data)}"'


def _quoted(types: list[str]) -> str:
    first = [name for name in _EXAMPLES if name in types]
    return " or ".join(f'"{name}"' for name in (first[:1] or types[:3]))


def _likely(data: Data) -> str:
    """Return the model type whose class knows most of the keys."""
    from archcalc.hf import upstream

    return max(_EXAMPLES, key=lambda name: len(upstream.keys(name).keys() & data.keys()))
