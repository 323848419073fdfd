"""Every variant of a part has its place in every reading: a new one without its line in a table fails here."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import pytest

import archcalc
from archcalc.formats.layouts import Layout
from archcalc.ledger import embedding as ledger_embedding
from archcalc.ledger import norm as ledger_norm
from archcalc.render.meanings import MEANINGS
from archcalc.spec.attention import AnyAttention, Attention
from archcalc.spec.base import Activation, Part
from archcalc.spec.branches import PLACEMENTS, parts, with_parts
from archcalc.spec.execution import Execution, Experts, Kernel
from archcalc.spec.ffn import AnyFfn, Gated
from archcalc.spec.layer import Layer, Placement
from archcalc.spec.mixer import AnyMixer, ShortConv
from archcalc.spec.norm import Norm, RMSNorm
from archcalc.spec.position import AttentionPosition, Rope, TablePosition
from archcalc.spec.variants import VARIANTS, Variant
from archcalc.spec.workload import Workload
from tests import strategies

PACKAGE = Path(archcalc.__file__).parent


def variants(union: Any) -> set[type]:
    """The part types of a union (None left out)."""
    member_types = get_args(union) if isinstance(union, UnionType) else (union,)
    return {member for member in member_types if member is not type(None)}


READINGS = [name for name, kind in Variant.__annotations__.items() if kind in ("str", "str | None")]
LAYER_PARTS = variants(AnyAttention) | variants(AnyMixer) | variants(AnyFfn)


def every_part() -> set[type[Part]]:
    """All concrete parts, by walking the subclasses."""
    found, waiting = set(), [Part]
    while waiting:
        subclasses = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith("archcalc.spec")]
        found.update(subclasses)
        waiting += subclasses
    return found


def test_unions_are_of_parts():
    for union in (Norm, AnyAttention, AnyFfn, TablePosition, AttentionPosition):
        assert len(variants(union)) > 1
        assert variants(union) <= every_part()


def test_every_variant_of_a_part_has_its_record():
    assert set(VARIANTS) == LAYER_PARTS


@pytest.mark.parametrize("kind", VARIANTS, ids=lambda kind: kind.__name__)
def test_a_record_names_functions_that_are_there(kind: type[Part]):
    """What it leaves out it may: a part of decoders that mixes tokens keeps something of them.

    It says its heads or is a mixer.
    """
    record = VARIANTS[kind]
    paths = {name: getattr(record, name) for name in READINGS}
    for path in filter(None, paths.values()):
        module, _, name = path.partition(":")
        assert callable(getattr(import_module(module), name)), path
    assert {name for name, path in paths.items() if path is None} <= {
        "cache",
        "source_cache",
        "query_module",
        "rank",
        "fast",
    }
    assert record.mixes_tokens or record.component == "ffn"
    assert (record.cache is not None) == (record.mixes_tokens and "decoder" in record.roles)
    assert (record.heads is not None) == (record.component == "attention")


@pytest.mark.parametrize(
    ("table", "union"),
    [(ledger_embedding.POSITIONS, variants(TablePosition)), (ledger_norm.PARAMETERS, variants(Norm) | {type(None)})],
    ids=["ledger positions", "ledger norms"],
)
def test_dispatch_tables_have_every_variant(table: dict[type, Any], union: set[type]):
    assert set(table) == union


def test_modules_have_every_variant():
    from archcalc.nn import norm, position

    assert variants(TablePosition) <= set(position.POSITIONS)
    assert variants(Norm) <= set(norm.NORMS)


def test_modules_know_every_position_of_attention():
    """Rope turns queries and keys; the others are biases on the scores."""
    from archcalc.nn import attention

    assert set(attention._BIASES) - {type(None)} | {Rope} == variants(AttentionPosition)


def test_every_way_to_carry_out_a_step_is_known():
    from archcalc.ledger import activation, attention_core, moe
    from archcalc.nn import activation as modules
    from archcalc.nn import moe as experts
    from archcalc.nn import softmax

    assert set(attention_core.KERNELS) == set(softmax.KERNELS) == set(get_args(Kernel))
    assert set(moe.FORMULATIONS) == set(experts.FORMULATIONS) == set(get_args(Experts))
    assert set(modules.ACTIVATIONS) == set(get_args(Activation))
    assert set(activation.ACTIVATIONS) == set(get_args(Activation)) | {"xielu"}


def test_modules_know_every_scaling():
    from msgspec import inspect

    from archcalc.nn import rope

    (scaling,) = [field.type for field in inspect.type_info(Rope).fields if field.name == "scaling"]
    kinds = {member.cls for member in scaling.types if isinstance(member, inspect.StructType)}
    assert len(kinds) == 6
    assert kinds <= set(rope._SCALINGS)


def test_every_placement_has_its_norms():
    assert set(PLACEMENTS) == set(get_args(Placement))


def test_every_slot_of_a_layer_is_read():
    """A slot is a field of a layer's short form that holds an attention, a mixer or a feed-forward."""
    drawn = Layer(
        norm=RMSNorm(),
        attention=Attention(n_heads=1),
        mixer=ShortConv(),
        cross=Attention(n_heads=1),
        ffn=Gated(d_ff=1),
    )
    slots = {name for name in Layer.__struct_fields__ if isinstance(getattr(drawn, name), tuple(LAYER_PARTS))}
    assert slots == {"attention", "mixer", "cross", "ffn"}
    assert len(parts(drawn)) == len(slots)
    assert with_parts(drawn, lambda part: Gated(d_ff=2)).cross == Gated(d_ff=2)


def test_every_field_of_a_spec_has_its_meaning():
    """A part, its fields, and the choices that a field has by name; and no words are left of one that is gone."""
    from msgspec import inspect

    from archcalc.spec.field_types import member_types

    wanted = set()
    for part in every_part() - {Workload, Execution}:
        wanted.add(part.__name__)
        for field in inspect.type_info(part).fields:
            choices = [value for member in member_types(field.type) for value in getattr(member, "values", ())]
            wanted |= {f"{part.__name__}.{name}" for name in (field.name, *(f"{field.name}.{one}" for one in choices))}
    for layout in get_args(Layout):
        wanted |= {layout.__name__, *(f"{layout.__name__}.{field}" for field in layout.__struct_fields__)}
    assert set(MEANINGS) == wanted


def test_every_part_can_be_drawn():
    """A workload is no part of a spec, and the way it is carried out is none."""
    assert set(strategies.PARTS) >= every_part() - {Workload, Execution}


def class_names() -> dict[str, list[str]]:
    """The modules of the package that define a class of each name."""
    modules: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE):
            modules.setdefault(name, []).append(path.relative_to(PACKAGE).with_suffix("").as_posix())
    return modules


def test_a_class_name_means_one_thing():
    """A part of a spec and the module that computes it have the same name; no other two classes have."""
    for name, modules in class_names().items():
        assert len(modules) == 1 or sorted(module.partition("/")[0] for module in modules) == ["nn", "spec"], (
            name,
            modules,
        )
