"""Virtual tokens, as in peft: prefix tuning (Li and Liang 2021) and prompt tuning (Lester et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archcalc.analysis.adapters.config import AdapterConfig
from archcalc.errors import InputError
from archcalc.hf import adapter_modules, upstream
from archcalc.ledger.algebra import ONE, Poly
from archcalc.ledger.leaves import Component, Weight
from archcalc.ledger.rows import WeightRow
from archcalc.spec import Spec
from archcalc.spec.attention import Attention, LatentAttention
from archcalc.spec.branches import parts
from archcalc.spec.cca import ConvolutionalAttention
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.groups import layers_of
from archcalc.spec.routed import RoutedAttention
from archcalc.words import msg

N_TOKENS, N_LAYERS, WIDTH, HIDDEN = map(Poly.symbol, ("n_virtual", "n_layers", "d_virtual", "d_prefix"))


def prompt_rows(config: AdapterConfig, spec: Spec, model: Mapping[str, Any]) -> tuple[WeightRow, ...]:
    """Return what a method with virtual tokens trains in a spec; `model` is its config.

    A prefix has a key and a value for each layer of the first stack and each token, as wide as the keys of a token. Its
    projection is a table and two layers. Raises InputError for a type of whose config the library reads no sizes.
    """
    n_stacks = config.n_stacks or (2 if config.task == "SEQ_2_SEQ_LM" else 1)
    is_prefix = config.method == "prefix_tuning"
    width = config.token_width or spec.d_model
    known = upstream.keys(model["model_type"])
    missing = adapter_modules.missing_size(model["model_type"])
    if missing and not (config.token_width and config.n_layers):
        raise InputError(
            msg("{library} finds no {key} of this model type", library=adapter_modules.LIBRARY, key=missing),
            where="model_type",
            allowed=msg("another method"),
        )
    width = _key_width(spec, model, known, width) if is_prefix else width
    sizes = {
        N_TOKENS: config.n_tokens * (1 if is_prefix else n_stacks),
        WIDTH: width,
        N_LAYERS: config.n_layers or _n_layers(spec, model, known),
        HIDDEN: config.d_prefix or width,
    }
    named = {next(iter(symbol.symbols())): size for symbol, size in sizes.items()}
    component: Component = "attention" if is_prefix else "embedding"
    return tuple(
        WeightRow(f"prompt_encoder.{name}", Weight(name, axes, component), "", (), ONE, named)
        for name, axes in _tensors(config)
    )


def _tensors(config: AdapterConfig) -> Iterator[tuple[str, tuple[Poly, ...]]]:
    """Yield the name and the axes of each tensor."""
    if config.method == "prompt_tuning":
        yield "embedding.weight", (N_TOKENS, WIDTH)
        return
    whole = 2 * N_LAYERS * WIDTH
    if not config.is_projected:
        yield "embedding.weight", (N_TOKENS, whole)
        return
    yield "embedding.weight", (N_TOKENS, WIDTH)
    for n, out, into in ((0, HIDDEN, WIDTH), (2, whole, HIDDEN)):
        yield f"transform.{n}.weight", (out, into)
        yield f"transform.{n}.bias", (out,)


def _n_layers(spec: Spec, model: Mapping[str, Any], known: Mapping[str, list[Any]]) -> int:
    """Return the layers that the config states: of the encoder, also for a decoder alone, or groups of layers."""
    if model["model_type"] in adapter_modules.LAYERS_OF_DECODER:
        return _explicit(spec.stacks[-1].stack.n_layers)
    n_layers = _explicit(spec.stacks[0].stack.n_layers)
    if model["model_type"] in adapter_modules.PAIRED_LAYERS:
        return 2 * n_layers
    if model["model_type"] in adapter_modules.LAYERS_THAT_RUN:
        return n_layers
    values = (model.get("num_hidden_layers"), model.get("encoder_layers"), *known.get("encoder_layers", ()))
    return next((value for value in values if type(value) is int), n_layers)


def _key_width(spec: Spec, model: Mapping[str, Any], known: Mapping[str, list[Any]], width: int) -> int:
    """Return the width of a token's keys as the library finds it: of the model, if the class knows no grouped keys.

    Where layers differ, those with the widest heads count, and of these one that attends to all tokens.
    """
    if "num_key_value_heads" not in known:
        return width
    found = [part for layer in layers_of(spec.stacks[0].stack) for part in parts(layer).values()]
    compressed = next((part for part in found if isinstance(part, CompressedAttention)), None)
    if compressed is not None:
        return compressed.d_head  # one vector for all heads
    routed = next((part for part in found if isinstance(part, RoutedAttention)), None)
    if routed is not None:  # its width of a head has a name that the library does not read
        n_heads = model.get("num_attention_heads")
        return width // (n_heads if type(n_heads) is int else routed.n_heads) * routed.n_kv_heads
    grouped = [part for part in found if isinstance(part, Attention | ConvolutionalAttention)]
    latent = next((part for part in found if isinstance(part, LatentAttention)), None)
    if grouped:
        widest = max(grouped, key=lambda part: (_explicit(part.d_head), part.window is None))
        is_split = adapter_modules.divides_width(model["model_type"]) and model.get("head_dim") is None
        return _explicit(widest.n_kv_heads) * (width // widest.n_heads if is_split else _explicit(widest.d_head))
    if latent is None:
        raise InputError(msg("the model has no attention"), where="prefix_tuning", allowed=msg("another method"))
    if model["model_type"] in adapter_modules.MIXED_LATENTS:
        raise InputError(
            msg("the layers of {model_type} have keys of several widths", model_type=model["model_type"]),
            where="prefix_tuning",
            allowed=msg("another method"),
        )
    stated = (model.get("num_key_value_heads"), *known["num_key_value_heads"])
    n_kv_heads = next((value for value in stated if type(value) is int), latent.n_heads)
    is_split = adapter_modules.divides_width(model["model_type"])
    return n_kv_heads * (width // latent.n_heads if is_split else latent.d_rope)


def _explicit(size: int | None) -> int:
    assert size is not None, "sizes of a loaded spec are explicit"
    return size
