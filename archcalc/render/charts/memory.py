"""Charts of memory: of inference, of a training step, on each rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from archcalc.analysis.inference_memory import InferenceMemory
from archcalc.analysis.peak import CATEGORIES, MOMENT_NAMES, Category
from archcalc.analysis.shards import ShardedMemory
from archcalc.analysis.training import PARTS
from archcalc.analysis.training_memory import PART_NAMES, StepPart
from archcalc.analysis.training_setup import StepMemory, TrainingSetup
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES
from archcalc.render import shards
from archcalc.render.charts.frame import COMPONENT_COLORS
from archcalc.render.charts.stacked import COLORS, Bar, stacked
from archcalc.render.training import dtypes_text
from archcalc.spec.execution import Recompute
from archcalc.units import exact
from archcalc.words import ENGLISH, Bytes, Message, Translator, joined, msg

CACHE_COLOR: Final = "#0072B2"
_RANKS: Final = {
    "weights_bytes": msg("weights"),
    "buffers_bytes": msg("buffers"),
    "kv_cache_bytes": msg("KV cache"),
}
_PEAK: Final[dict[Category, Message]] = {
    "weights": msg("weights, copy, buffers"),
    "gradients": msg("gradients"),
    "optimizer": msg("optimizer states"),
    "activations": msg("activations"),
    "temporary": msg("workspace"),
}


def inference(result: InferenceMemory, say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the chart of the weights by component and of the cache."""
    parts: dict[str, int] = {}
    for row in result.components:
        name = say(COMPONENT_NAMES[row.component])
        parts[name] = parts.get(name, 0) + row.bytes
    cache, work = say(msg("KV cache")), result.workload
    bars = [Bar(say(msg("weights")), parts)]
    if result.kv_cache_bytes:
        bars.append(Bar(cache, {cache: result.kv_cache_bytes}))
    colors = {say(COMPONENT_NAMES[name]): color for name, color in COMPONENT_COLORS.items()}
    subtitle = msg(
        "weights {dtype}, cache {cache}, {batch} × {tokens} tokens, exact",
        dtype=result.dtype,
        cache=result.cache_dtype,
        batch=exact(work.batch),
        tokens=exact(work.past + work.seq),
    )
    heading = say(msg("{name}: memory to run", name=result.label))
    return stacked(
        heading, [say(subtitle)], bars, {**colors, cache: CACHE_COLOR}, unit="bytes", axis=say(msg("bytes")), say=say
    )


def training(
    setup: TrainingSetup, by_policy: Mapping[Recompute, StepMemory], say: Translator = ENGLISH
) -> dict[str, Any]:
    """Return the chart of persistent bytes and saved activations, a bar for each recompute policy."""
    parts: tuple[StepPart, ...] = (*PARTS, "activations")
    names = {part: say(PART_NAMES[part]) for part in parts}
    bars = [
        Bar(_policy_name(policy, say), {names[part]: size for part, size in _parts(memory).items()})
        for policy, memory in by_policy.items()
    ]
    heading = say(msg("{name}: memory of a training step, by recompute policy", name=setup.spec.label))
    colors = dict(zip(names.values(), COLORS, strict=False))
    return stacked(heading, [say(_subtitle(setup))], bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)


def _policy_name(policy: Recompute, say: Translator) -> str:
    return say(msg("recompute {policy}", policy=RECOMPUTE_NAMES[policy]))


def _parts(memory: StepMemory) -> dict[StepPart, int]:
    """Return the bytes of each part that has any, and of the saved activations."""
    persistent: dict[StepPart, int] = {part: memory.persistent.of(part) for part in PARTS if memory.persistent.of(part)}
    return {**persistent, "activations": memory.activations_bytes}


def peaks(setup: TrainingSetup, by_policy: Mapping[Recompute, StepMemory], say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the chart of a training step's modeled peak, a bar for each recompute policy."""
    names = {category: say(_PEAK[category]) for category in CATEGORIES}
    tops = {policy: memory.peak for policy, memory in by_policy.items()}
    bars = [
        Bar(_policy_name(policy, say), {name: top.of(category) for category, name in names.items()})
        for policy, top in tops.items()
    ]
    lines = [
        msg(
            "{policy}: {size}, {moment}",
            policy=RECOMPUTE_NAMES[policy],
            size=Bytes(top.bytes),
            moment=MOMENT_NAMES[top.moment],
        )
        for policy, top in tops.items()
    ]
    heading = say(msg("{name}: peak of a training step, by recompute policy (modeled)", name=setup.spec.label))
    # Gradients, states and activations have the colors of the chart above.
    colors = dict(zip(names.values(), (COLORS[0], COLORS[1], COLORS[3], COLORS[4], COLORS[5]), strict=True))
    return stacked(heading, [say(line) for line in lines], bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)


def _subtitle(setup: TrainingSetup) -> Message:
    work = f"{exact(setup.work.batch)} × {exact(setup.work.seq)}"
    return joined(" · ", (setup.recipe.name, setup.optimizer.name, dtypes_text(setup.precision), work))


def ranks(result: ShardedMemory, say: Translator = ENGLISH) -> dict[str, Any]:
    """Return the chart of each rank's bytes."""
    names = {part: say(name) for part, name in _RANKS.items()}
    bars = [
        Bar(say(msg("rank {n}", n=rank.rank)), {name: getattr(rank, part) for part, name in names.items()})
        for rank in result.ranks
    ]
    engine = shards.ENGINE_NAMES[result.engine]
    heading = say(msg("{name}: memory on each of {n} ranks, {engine}", name=result.label, n=len(bars), engine=engine))
    colors = dict(zip(names.values(), (COLORS[0], COLORS[1], CACHE_COLOR), strict=True))
    subtitle = say(msg("weights {dtype}, cache {cache}, exact", dtype=result.dtype, cache=result.cache_dtype))
    return stacked(heading, [subtitle], bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)
