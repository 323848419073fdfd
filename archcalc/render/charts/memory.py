"""The figures of memory: what runs, what trains, what each rank holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from archcalc.analysis.caches import caches
from archcalc.analysis.training import PARTS
from archcalc.analysis.training_setup import StepMemory, TrainingSetup
from archcalc.analysis.value_names import COMPONENT_NAMES, RECOMPUTE_NAMES
from archcalc.analysis.weights import by_component
from archcalc.ledger.rows import Ledger
from archcalc.render import shards
from archcalc.render.charts.frame import COMPONENT_COLORS
from archcalc.render.charts.stacked import COLORS, Bar, stacked
from archcalc.render.peak import CATEGORIES
from archcalc.render.training import stored
from archcalc.spec import Spec
from archcalc.spec.execution import Recompute
from archcalc.spec.workload import Workload
from archcalc.units import exact, human_bytes
from archcalc.words import ENGLISH, Message, Translator, joined, msg

CACHE_COLOR: Final = "#0072B2"
_RANKS: Final = {
    "weights": msg("weights"),
    "buffers": msg("buffers"),
    "kv_cache": msg("KV cache"),
}
_KEPT: Final = {
    "weights": msg("weights"),
    "buffers": msg("buffers"),
    "gradients": msg("gradients"),
    "master": msg("master copy"),
    "optimiser": msg("optimiser states"),
    "saved": msg("saved activations"),
}
_PEAK: Final = {
    "weights": msg("weights, copy, buffers"),
    "gradients": msg("gradients"),
    "optimiser": msg("optimiser states"),
    "activations": msg("activations"),
    "temporary": msg("workspace"),
}


def running(
    spec: Spec, ledger: Ledger, work: Workload, dtypes: tuple[str, str], say: Translator = ENGLISH
) -> dict[str, Any]:
    """The weights by component, and the cache; `dtypes`: of the weights and of the cache."""
    parts: dict[str, int] = {}
    for component, _, payload, overhead in by_component(ledger, dtypes[0]):
        name = say(COMPONENT_NAMES[component])
        parts[name] = parts.get(name, 0) + payload + overhead
    cache = say(msg("KV cache"))
    kept = {cache: sum(one.total_bytes for one in caches(ledger, work, dtypes[1]))}
    bars = [Bar(say(msg("weights")), parts), *([Bar(cache, kept)] if kept[cache] else [])]
    colors = {say(COMPONENT_NAMES[name]): color for name, color in COMPONENT_COLORS.items()}
    tokens = exact(work.past + work.seq)
    small = say(
        msg(
            "weights {dtype}, cache {cache}, {batch} × {tokens} tokens, exact",
            dtype=dtypes[0],
            cache=dtypes[1],
            batch=exact(work.batch),
            tokens=tokens,
        )
    )
    heading = say(msg("{name}: memory to run", name=spec.label))
    return stacked(
        heading, [small], bars, {**colors, cache: CACHE_COLOR}, unit="bytes", axis=say(msg("bytes")), say=say
    )


def kept(subject: TrainingSetup, found: Mapping[Recompute, StepMemory], say: Translator = ENGLISH) -> dict[str, Any]:
    """What a training step keeps, a bar for each policy of what is computed again."""
    names = {part: say(_KEPT[part]) for part in (*PARTS, "saved")}
    bars = [
        Bar(
            say(msg("recompute {policy}", policy=RECOMPUTE_NAMES[policy])),
            {names[part]: size for part, size in _parts(memory).items()},
        )
        for policy, memory in found.items()
    ]
    heading = say(msg("{name}: what a training step keeps, by recompute policy", name=subject.spec.label))
    colors = dict(zip(names.values(), COLORS, strict=False))
    return stacked(heading, [say(_told(subject))], bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)


def _parts(memory: StepMemory) -> dict[str, int]:
    """The bytes of each part that there is, and of the saved activations."""
    lasting = {part: int(getattr(memory.totals, part)) for part in PARTS}
    return {**{part: size for part, size in lasting.items() if size}, "saved": memory.saved_bytes}


def peaks(subject: TrainingSetup, found: Mapping[Recompute, StepMemory], say: Translator = ENGLISH) -> dict[str, Any]:
    """The fullest moment of a training step, modelled, a bar for each policy of what is computed again."""
    names = {category: say(_PEAK[category]) for category in CATEGORIES}
    fullest = {policy: memory.peak for policy, memory in found.items()}
    bars = [
        Bar(
            say(msg("recompute {policy}", policy=RECOMPUTE_NAMES[policy])),
            {name: getattr(moment, part) for part, name in names.items()},
        )
        for policy, moment in fullest.items()
    ]
    small = [
        say(
            msg(
                "{policy}: {size}, {moment}",
                policy=RECOMPUTE_NAMES[policy],
                size=human_bytes(moment.total),
                moment=moment.name,
            )
        )
        for policy, moment in fullest.items()
    ]
    heading = say(
        msg("{name}: a training step's fullest moment, by recompute policy (modelled)", name=subject.spec.label)
    )
    # Gradients, states and activations have the colours of the figure above.
    colors = dict(zip(names.values(), (COLORS[0], COLORS[1], COLORS[3], COLORS[4], COLORS[5]), strict=True))
    return stacked(heading, small, bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)


def _told(subject: TrainingSetup) -> Message:
    work = f"{exact(subject.work.batch)} × {exact(subject.work.seq)}"
    return joined(" · ", (subject.recipe.name, subject.optimiser.name, stored(subject.precision), work))


def ranks(spec: Spec, found: dict[str, Any], say: Translator = ENGLISH) -> dict[str, Any]:
    """What each rank holds, from the page's data."""
    names = {part: say(name) for part, name in _RANKS.items()}
    bars = [
        Bar(say(msg("rank {n}", n=rank["rank"])), {name: rank[f"{part}_bytes"] for part, name in names.items()})
        for rank in found["ranks"]
    ]
    engine = shards.ENGINE_NAMES[found["engine"]]
    heading = say(msg("{name}: memory on each of {n} ranks, {engine}", name=spec.label, n=len(bars), engine=engine))
    colors = dict(zip(names.values(), (COLORS[0], COLORS[1], CACHE_COLOR), strict=True))
    small = say(msg("weights {dtype}, cache {cache}, exact", dtype=found["dtype"], cache=found["cache_dtype"]))
    return stacked(heading, [small], bars, colors, unit="bytes", axis=say(msg("bytes")), say=say)
