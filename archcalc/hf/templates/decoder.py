"""The template of LLaMA and what is built like it: rotary attention, a feed-forward, norms, in one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from archcalc.hf.config import Config
from archcalc.hf.family import Family, FamilyRow, row_builder
from archcalc.hf.lens import Key, Lens, Template
from archcalc.hf.rope import RopeLens
from archcalc.hf.spellings import TIED
from archcalc.hf.stack import ListSchedule, Schedule, StackLens, UniformSchedule
from archcalc.hf.tensors import fused_modules, modules, table
from archcalc.hf.vocabulary import LLAMA_DENSE, activation, biases, dropout, flag, layers, rmsnorm, size, tied

BIASED = biases(flag("attention_bias", False))
MLP_BIAS = flag("mlp_bias", False)

LAYER = ("layers.{i}.", "model.layers.{i}.")
OUT_NORMS = modules({"attn_out_norm": "post_attention_layernorm", "ffn_out_norm": "post_feedforward_layernorm"}, *LAYER)
GATE_UP = (
    *fused_modules(("layers.{i}.ffn.gate", "layers.{i}.ffn.up"), "model.layers.{i}.mlp.gate_up_proj"),
    *modules({"ffn.down": "mlp.down_proj"}, *LAYER),
)
WINDOWS = {"sliding_attention": "sliding", "full_attention": "global"}


def windows(period: int | Key, full: int = -1) -> ListSchedule:
    """Return `layer_types`, or else one global layer in each `period`, at index `full` of it."""

    def default(config: Config, index: int) -> str:
        every = period if isinstance(period, int) else period.read(config)
        return "sliding" if every and (index - full) % every else "global"

    return ListSchedule(WINDOWS, default, (period,) if isinstance(period, Key) else ())


@row_builder
def decoder(
    model_type: str,
    *classes: str,
    vocab: int = 32000,
    n_ctx: int = 2048,
    width: int = 4096,
    depth: int = 32,
    heads: int = 32,
    kv: int | None = None,
    d_head: int | Lens | None = None,
    d_ff: int = 11008,
    act: str | Template = "silu",
    norm: Template = rmsnorm(1e-6),  # noqa: B008 - frozen data
    theta: float = 10_000.0,
    rope: Mapping[str, Any] = {},
    partial: float | Callable[[Config], float] | None = None,
    tie: bool = False,
    head: Mapping[str, Any] = {},
    layer: Mapping[str, Any] = {},
    attention: Mapping[str, Any] = {},
    base_attention: Mapping[str, Any] | None = None,
    ffn: Mapping[str, Any] = {},
    base_ffn: Template = None,
    ffn_kinds: Mapping[str, Template] = {},
    kinds: Mapping[str, Mapping[str, Any]] | None = None,
    schedule: Schedule = UniformSchedule(),  # noqa: B008
    lists: Mapping[str, str] = {},
    to_branches: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = lambda kind, layer: layer,
    by_index: bool = False,
    stack_fields: Mapping[str, Any] = {},
    model_fields: Mapping[str, Any] = {},
    dropouts: Mapping[str, Any] | None = None,
    stack: str = "decoder",
    tensors: tuple[Any, ...] = LLAMA_DENSE,
    forms: tuple[FamilyRow, ...] = (),
    **row: Any,
) -> Family:
    """Return a family whose config has LLaMA's keys. Each number is the class's default.

    `layer`, `attention`, `ffn`, `around` (the stack), `head` and `outside` (the model) are what differs from LLaMA.
    `kinds`: what of `attention` differs by kind of layer. `attend`: an attention that is none of LLaMA's but for its
    rotation. `feed`: a feed-forward that is none of LLaMA's at all; `feeds`: one for each kind of layer (None:
    LLaMA's). `d_head` None: the key may be left out, and is then width / heads. `partial`: the default of
    `partial_rotary_factor`, where the class reads it. `lists`, `by_index`: as of `Stack`. `wire` turns a kind's layer
    into one with explicit branches. `forms`: rows of the type's other forms. `row`: the row's own fields.
    """
    n_heads, d_model = size("num_attention_heads", heads), size("hidden_size", width)
    context = size("max_position_embeddings", n_ctx)
    head_key = d_head if isinstance(d_head, Lens) else size("head_dim", d_head, null=None)

    def head_width(config: Config) -> int:
        return int(head_key.read(config) or d_model.read(config) // n_heads.read(config))

    turned: dict[str, Any] = {} if partial is None else {"default_share": partial, "head_width": head_width}
    grouped = {
        "kind": "gqa",
        "n_heads": n_heads,
        "n_kv_heads": size("num_key_value_heads", kv or n_heads.read, null=n_heads.read),
        "d_head": head_key,
    }
    position = RopeLens(theta=theta, n_ctx=context, **turned, **rope)
    attn = {**(base_attention or grouped), "position": position, **attention}
    if attn.get("qk_norm") in ("head", "full"):
        attn["qk_norm"] = {"norm": norm, "over": attn["qk_norm"]}
    fed = base_ffn or {
        "kind": "gated",
        "d_ff": size("intermediate_size", d_ff),
        "activation": activation(act) if isinstance(act, str) else act,
        **ffn,
    }
    blocks = {
        name: to_branches(
            name, {"norm": norm, **layer, "attention": attn | _at(more, attn), "ffn": ffn_kinds.get(name) or fed}
        )
        for name, more in (kinds or {name: {} for name in ffn_kinds} or {"layer": {}}).items()
    }
    template = {
        "vocab_size": size("vocab_size", vocab),
        "n_ctx": context,
        "d_model": d_model,
        stack: StackLens(
            count=layers(depth),
            kinds=blocks,
            schedule=schedule,
            stack_fields={"final_norm": norm, **stack_fields},
            lists=lists,
            by_index=by_index,
        ),
        "head": tied(tie) | dict(head),
        "dropout": {"attention": dropout("attention_dropout", 0.0, null=0.0)} if dropouts is None else dropouts,
        **model_fields,
    }
    more = {"spelling": TIED, "forms": tuple(form.family for form in forms), **row}
    return Family(model_type, classes, template, table(*tensors), **more)


def cross_product(kinds: Mapping[str, Any], ffn_kinds: Mapping[str, Template]) -> dict[str, Any]:
    """Return `kinds` and `feeds` of layers that have one of each, named after both: "global_moe"."""
    pairs = {f"{kind}_{ffn}": (kind, ffn) for kind in kinds for ffn in ffn_kinds}
    return {
        "kinds": {name: kinds[kind] for name, (kind, _) in pairs.items()},
        "ffn_kinds": {name: ffn_kinds[ffn] for name, (_, ffn) in pairs.items()},
    }


def _at(more: Mapping[str, Any], attn: Mapping[str, Any]) -> dict[str, Any]:
    """A kind's own switches; its `position` may be a function of the common one."""
    position = more.get("position")
    return {**more, "position": position(attn["position"])} if callable(position) else dict(more)
