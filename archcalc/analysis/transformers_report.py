"""Parameters that transformers counts, for a model that no spec describes: no formulas, FLOPs or caches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, get_args

from archcalc.analysis.memory import AUTO, DTYPES, Dtype, DtypeOrAuto, check_dtype
from archcalc.analysis.value_names import COMPONENT_NAMES
from archcalc.engines import COUNTED, Counted
from archcalc.formats.element_types import element_bytes
from archcalc.ledger.leaves import Component
from archcalc.results import Result, Row, count, data, share, text
from archcalc.words import in_context, msg

# How sure these numbers are: those of another package's modules.
COUNTED_NAMES: Final = {COUNTED: msg("counted by transformers")}
KIND: Final = text(in_context("of a number", "kind"), names=COUNTED_NAMES)

# Words in the names of modules → components, in the order in which they are tried.
_COMPONENTS: Final[tuple[tuple[Component, str], ...]] = (
    ("norm", r"norm\d*|ln(_\w+)?|ln\d*|\w+_ln|\w*layernorm\w*|\w*_norm\w*"),
    ("position", r"\w*position\w*|wpe|pos_emb\w*|\w*relative_attention_bias|\w*relative_bias\w*"),
    ("mixer", r"ssm|mamba\w*|linear_attn|conv1d|short_conv|mixer|rwkv|recurrent\w*|\w*delta\w*"),
    ("attention", r"\w*attn\w*|\w*attention\w*|\w*_proj_qkv|[qkv]_proj|o_proj|qkv"),
    ("ffn", r"\w*mlp\w*|ffn\w*|\w*feed_forward\w*|fc[12]?|experts?|router|gate|intermediate|output|dense_h_to_4h"),
    ("per_layer_embedding", r"embed_tokens_per_layer"),
    ("embedding", r"\w*embed\w*|wte|shared|w"),
    ("head", r"lm_head|cls|\w*classifier|score|\w*predictions?|head|proj_out"),
)


class CountedTotal(Row, frozen=True, kw_only=True):
    """A total of parameters, or the bytes of all of them."""

    figure: Annotated[
        str,
        text(
            msg("count"),
            names={
                "total": msg("total"),
                "untied": msg("untied"),
                "trainable": msg("trainable"),
                "frozen": msg("frozen"),
                "buffers": msg("buffers"),
                "weights_bytes": msg("weights bytes"),
            },
        ),
    ]
    value: Annotated[int, count(msg("number"))]
    kind: Annotated[Counted, KIND] = COUNTED


class CountedComponent(Row, frozen=True, kw_only=True):
    """The parameters of one component, as far as the names of modules tell."""

    component: Annotated[str, text(msg("component"), names=COMPONENT_NAMES)]
    parameters: Annotated[int, count(msg("parameters"), rounded="count")]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Counted, KIND] = COUNTED


class CountedPart(Row, frozen=True, kw_only=True):
    """The parameters of one module of the model."""

    module: Annotated[str, text(msg("module"))]
    parameters: Annotated[int, count(msg("parameters"), rounded="count")]
    share: Annotated[float, share(msg("share"))]
    kind: Annotated[Counted, KIND] = COUNTED


class TransformersReport(Result, frozen=True, kw_only=True):
    """The parameters of a model as the installed transformers builds it."""

    name: Annotated[str, data(msg("name of the model"))]
    model_type: Annotated[str, data(msg("model type"))]
    class_name: Annotated[str, data(msg("class"))]
    version: Annotated[str, data(msg("version of transformers"))]
    dtype: Annotated[str, data(msg("dtype"))]
    totals: Annotated[tuple[CountedTotal, ...], data(msg("totals"))]
    components: Annotated[tuple[CountedComponent, ...], data(msg("parameters by component"))]
    parts: Annotated[tuple[CountedPart, ...], data(msg("parameters by module"))]

    def total(self, figure: str) -> int:
        """Return a total by its name."""
        return next(row.value for row in self.totals if row.figure == figure)


def transformers_report(config: Mapping[str, Any], *, dtype: DtypeOrAuto = AUTO) -> TransformersReport:
    """Return what transformers counts of a config; 'auto' is the dtype that it states, else bf16.

    Raises as `archcalc.hf.meta_model.meta_model`.
    """
    check_dtype(dtype)
    plain: Dtype = _stated(config) if dtype == AUTO else dtype
    from archcalc.hf.meta_model import meta_model, version

    model = meta_model(config)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = sum(sizes.values())
    by_component: Counter[str] = Counter()
    by_module: Counter[str] = Counter()
    for name, size in sizes.items():
        by_component[component(name)] += size
        by_module[_module(name)] += size
    name = config.get("_name_or_path")
    return TransformersReport(
        name=name if isinstance(name, str) and 0 < len(name) <= 200 else str(config["model_type"]),
        model_type=str(config["model_type"]),
        class_name=type(model).__name__,
        version=version(),
        dtype=plain,
        totals=tuple(_totals(model, total, plain)),
        components=tuple(
            CountedComponent(component=each, parameters=by_component[each], share=by_component[each] / (total or 1))
            for each in get_args(Component)
            if by_component[each]
        ),
        parts=tuple(
            CountedPart(module=each, parameters=size, share=size / (total or 1)) for each, size in by_module.items()
        ),
    )


def _stated(config: Mapping[str, Any]) -> Dtype:
    """Return the dtype that a config states; bf16 if it states none, or another."""
    from archcalc.hf.storage import stated_dtype

    return next((name for name in DTYPES if name == stated_dtype(config)), "bf16")


def component(name: str) -> Component:
    """Return the component of a parameter, from the innermost module whose name tells; "other" if none does.

    >>> component("model.layers.0.self_attn.q_proj.weight"), component("model.layers.0.mlp.up_proj.bias")
    ('attention', 'ffn')
    """
    for word in reversed(name.lower().split(".")[:-1]):
        for each, pattern in _COMPONENTS:
            if re.fullmatch(pattern, word):
                return each
    return "other"


def _totals(model: Any, total: int, dtype: Dtype) -> Iterator[CountedTotal]:
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    buffers = sum(tensor.numel() for name, tensor in model.state_dict().items()) - sum(
        parameter.numel() for _, parameter in model.named_parameters(remove_duplicate=False)
    )
    values = {"total": total, "untied": total + _tied_head(model), "trainable": trainable, "frozen": total - trainable}
    for figure, value in {**values, "buffers": buffers, "weights_bytes": total * element_bytes(dtype)}.items():
        yield CountedTotal(figure=figure, value=value)


def _tied_head(model: Any) -> int:
    """Return the size of the head's matrix if it is another tensor as well; else 0."""
    try:
        head = model.get_output_embeddings()
    except Exception:  # some classes have none, and say so in their own way
        return 0
    weight = getattr(head, "weight", None)
    names = [name for name, each in model.named_parameters(remove_duplicate=False) if each is weight]
    return int(weight.numel()) if weight is not None and len(names) > 1 else 0


def _module(name: str) -> str:
    """Return the module of a parameter below the model, and below `model` where that is all there is."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first in ("model", "transformer") and len(rest) > 1 else first
