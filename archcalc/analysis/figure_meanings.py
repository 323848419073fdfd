"""What each figure that `archcalc explain` knows counts."""

from __future__ import annotations

from archcalc.analysis.figures import Figure
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.formats.element_types import ELEMENT_TYPES, ElementName, element_bytes
from archcalc.units import exact
from archcalc.words import Message, msg, plural

FIGURE_MEANINGS = {
    "total": msg("every stored tensor once"),
    "untied": msg("the tied head's matrix counted beside the table"),
    "active": msg("what one token uses, embedding and head included"),
    "active_without_input_embedding": msg("what one token uses beyond its embedding"),
    "active_without_embedding_and_head": msg("what one token uses beyond its embedding and the head"),
    "without_per_layer_embedding": msg("without the table of per-layer embeddings"),
    "non_embedding": msg("without embedding, positions and head"),
    "trainable": msg("what training changes"),
    "frozen": msg("stored and counted, not trained"),
    "buffers": msg("stored beside the parameters, in no total"),
    "flops.forward": msg("every key that a layer holds is multiplied"),
    "flops.forward_causal": msg("only the pairs that are attended"),
    "flops.backward": msg("each product twice: for its input's gradient and its weight's"),
    "flops.train_step": msg("forward and backward"),
    "memory.weights_bytes": msg("all parameters in {dtype}, {bytes} each"),
    "memory.kv_cache_bytes": msg("all keys and values kept, in {dtype}, {bytes} each"),
    "memory.state_bytes": msg("the state of recurrent layers"),
    "memory.activations_bytes": msg("activations that an eager training step saves for the backward pass"),
    "per_layer_embedding": msg("all of the component {component}"),
    "embedding": msg("all of the component {component}"),
    "position": msg("all of the component {component}"),
    "attention": msg("all of the component {component}"),
    "ffn": msg("all of the component {component}"),
    "mixer": msg("all of the component {component}"),
    "norm": msg("all of the component {component}"),
    "head": msg("all of the component {component}"),
    "other": msg("all of the component {component}"),
    "flops.per_layer_embedding": msg("forward, all of the component {component}"),
    "flops.embedding": msg("forward, all of the component {component}"),
    "flops.position": msg("forward, all of the component {component}"),
    "flops.attention": msg("forward, all of the component {component}"),
    "flops.ffn": msg("forward, all of the component {component}"),
    "flops.mixer": msg("forward, all of the component {component}"),
    "flops.norm": msg("forward, all of the component {component}"),
    "flops.head": msg("forward, all of the component {component}"),
    "flops.other": msg("forward, all of the component {component}"),
}


def figure_meaning(figure: Figure, dtype: ElementName) -> Message:
    """Return what a figure counts, with the name of its component or the size of its elements."""
    if figure.formats:
        sizes = ", ".join(f"{name} {exact(n_bytes)}" for name, n_bytes in figure.formats)
        return msg("the bytes of all parameters as the files store them: {formats}", formats=sizes)
    dtype = next((name for name in ELEMENT_TYPES if name == figure.dtype), dtype)
    each = plural("{n} byte", "{n} bytes", n=element_bytes(dtype))
    name = COMPONENT_NAMES[figure.component] if figure.component else ""
    return FIGURE_MEANINGS[figure.name].fill(component=name, dtype=dtype, bytes=each)
