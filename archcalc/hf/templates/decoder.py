"""The template of LLaMA-like decoders: one stack with rotary attention, a feed-forward and norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from archcalc.hf.config import Config
from archcalc.hf.family import Family, FamilyRow, row_builder
from archcalc.hf.lens import ConfigLens, Key, Template
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
    """Return the schedule `layer_types`; by default one layer in each `period`, at index `full` of it, is global."""

    def default(config: Config, index: int) -> str:
        n_period = period if isinstance(period, int) else period.read(config)
        return "sliding" if n_period and (index - full) % n_period else "global"

    return ListSchedule(WINDOWS, default, (period,) if isinstance(period, Key) else ())


@row_builder
def decoder(
    model_type: str,
    *classes: str,
    vocab: int = 32000,
    n_ctx: int | ConfigLens = 2048,
    width: int = 4096,
    depth: int | Key | Callable[[Config], int] = 32,
    heads: int = 32,
    kv: int | None = None,
    d_head: int | ConfigLens | None = None,
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
    mixers: Mapping[str, Template] = {},
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

    - `layer`, `attention`, `ffn`, `stack_fields`, `head`, `model_fields`: fields that differ from LLaMA's
    - `kinds`: fields of `attention` that differ by kind of layer
    - `mixers`: the mixer of each kind of layer that has one in the place of attention
    - `base_attention`: an attention that replaces LLaMA's, except for its rotary position
    - `base_ffn`: a feed-forward that replaces LLaMA's
    - `ffn_kinds`: one for each kind of layer; None: LLaMA's
    - `depth`: the default number of layers, or the key that says it
    - `n_ctx`: the default of the key, or a lens in its place
    - `d_head` None: the key may be left out and is then width / heads
    - `partial`: the default of `partial_rotary_factor`, if the class reads it
    - `lists`, `by_index`: as in `StackLens`
    - `to_branches`: turns a kind's layer into one with explicit branches
    - `forms`: rows of the type's other forms
    - `row`: further fields of `Family`
    """
    n_heads, d_model = size("num_attention_heads", heads), size("hidden_size", width)
    context = n_ctx if isinstance(n_ctx, ConfigLens) else size("max_position_embeddings", n_ctx)
    head_key = d_head if isinstance(d_head, ConfigLens) else size("head_dim", d_head, null=None)

    def head_width(config: Config) -> int:
        return int(head_key.read(config) or d_model.read(config) // n_heads.read(config))

    partial_rotation: dict[str, Any] = {} if partial is None else {"default_share": partial, "head_width": head_width}
    llama_attention = {
        "kind": "gqa",
        "n_heads": n_heads,
        "n_kv_heads": size("num_key_value_heads", kv or n_heads.read, null=n_heads.read),
        "d_head": head_key,
    }
    position = RopeLens(theta=theta, **partial_rotation, **rope)
    if isinstance(context, Key):
        position = structs.replace(position, n_ctx=context)
    attn = {**(base_attention or llama_attention), "position": position, **attention}
    if attn.get("qk_norm") in ("head", "full"):
        attn["qk_norm"] = {"norm": norm, "over": attn["qk_norm"]}
    feed_forward = base_ffn or {
        "kind": "gated",
        "d_ff": size("intermediate_size", d_ff),
        "activation": activation(act) if isinstance(act, str) else act,
        **ffn,
    }
    attentions = kinds or {name: {} for name in ffn_kinds if name not in mixers} or ({} if mixers else {"layer": {}})
    token_mixers: dict[str, dict[str, Any]] = {
        **{name: {"attention": attn | _kind_fields(fields, attn)} for name, fields in attentions.items()},
        **{name: {"attention": None, "mixer": mixer} for name, mixer in mixers.items()},
    }
    blocks = {
        name: to_branches(name, {"norm": norm, **layer, **mixer, "ffn": ffn_kinds.get(name) or feed_forward})
        for name, mixer in token_mixers.items()
    }
    template = {
        "vocab_size": size("vocab_size", vocab),
        "n_ctx": context,
        "d_model": d_model,
        stack: StackLens(
            count=depth if isinstance(depth, Key) else layers(depth),
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
    fields = {"spelling": TIED, "forms": tuple(form.family for form in forms), **row}
    return Family(model_type, classes, template, table(*tensors), **fields)


def cross_product(kinds: Mapping[str, Any], ffn_kinds: Mapping[str, Template]) -> dict[str, Any]:
    """Return `kinds` and `ffn_kinds` of layers with one of each, named after both: "global_moe"."""
    pairs = {f"{kind}_{ffn}": (kind, ffn) for kind in kinds for ffn in ffn_kinds}
    return {
        "kinds": {name: kinds[kind] for name, (kind, _) in pairs.items()},
        "ffn_kinds": {name: ffn_kinds[ffn] for name, (_, ffn) in pairs.items()},
    }


def _kind_fields(fields: Mapping[str, Any], attn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kind's own fields. Its `position` may be a function of the common one."""
    position = fields.get("position")
    return {**fields, "position": position(attn["position"])} if callable(position) else dict(fields)
