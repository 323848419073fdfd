"""Against transformers' own models: tensors by name and shape, totals, FLOPs and caches.

Lines of tests/hf/oracle are compared for every model type that is read; `DEVIATIONS` names those that are not exact.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import transformers
from msgspec import structs

from archcalc.analysis import flops, params
from archcalc.errors import InputError
from archcalc.hf import from_config, model_types, tensor_map, to_config
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.workload import Workload, workload
from tests.hf import oracle
from tests.hf.conv_steps import second_positions
from tests.hf.hf_configs import CONFIGS
from tests.hf.tiny import NEEDS

Line = oracle.Line


class Deviation(msgspec.Struct, frozen=True):
    """Lines that are refused or differ: why, and a text that what is found of each of them says."""

    reason: str
    says: str
    names: tuple[str, ...]


DEVIATIONS = (
    Deviation(
        "the class's head is of another vocabulary than the table that its decoder reads: it cannot go on with a text",
        "decoder_vocab_size: found",
        ("marian #3", "marian #8"),
    ),
    Deviation(
        "the class keeps all keys in its windowed layers", ": ", ("GPT-Neo-125m", "GPT-Neo-1.3B", "GPT-Neo-2.7B")
    ),
    Deviation(
        "the class's 71 key-value heads for 4 or 8 query heads: the model cannot run",
        "71 does not divide n_heads",
        ("falcon #1", "falcon #2"),
    ),
    Deviation(
        "a part of the head's width that is odd: the model cannot run",
        "cannot be rotated in pairs",
        ("codegen #1", "codegen #2", "gpt_neox #3", "persimmon #2", "stablelm #1", "stablelm #4"),
    ),
    Deviation(
        "twice the key-value heads in sliding layers, for 6 query heads: the model cannot run",
        "4 does not divide n_heads",
        tuple(f"mimo_v2_flash #{n}" for n in (1, 2, 3)),
    ),
    Deviation(
        "the class's null, which says no number of experts for a token: the model cannot run",
        "num_experts_per_tok: found None",
        tuple(f"deepseek_v2 #{n}" for n in (1, 2, 3, 4)),
    ),
    Deviation(
        "a window of 0, in which a token does not see itself",
        "sliding_window: found 0",
        tuple(f"qwen2_moe #{n}" for n in (2, 3, 4)),
    ),
    Deviation(
        "the output projection is as wide as the model, and the heads are not: the model cannot run",
        "head_dim: found",
        ("helium #1", "helium #2", "helium #3", "helium #4"),
    ),
    Deviation(
        "the norms of queries and keys are as wide as the model, and the heads are not: the model cannot run",
        "head_dim: found",
        ("esmc #1", "esmc #4"),
    ),
    Deviation(
        "layers of the width of a bottleneck that is off: the model cannot run",
        "true_hidden_size: found 128",
        tuple(f"mobilebert #{n}" for n in (1, 2, 3, 4)),
    ),
    Deviation(
        "transformers caches keys and values repeated for all 232 query heads; we cache the 8 that differ",
        "cached elements: 167,690,240 for 4,863,016,960",
        ("Falcon-180B",),
    ),
    Deviation(
        "a token table of another width than the layers: the model cannot run",
        "embedding_dim",
        tuple(f"xlstm #{n}" for n in (1, 2, 3, 4)),
    ),
    Deviation(
        "the line takes a share of the bias of the attention's output, which is one for all experts",
        "active: 1,198,491,648 for 1,198,473,216",
        ("jetmoe JetMoeForCausalLM",),
    ),
    Deviation(
        "transformers caches the one vector of keys and values twice in layers that only slide; we cache it once",
        "cached elements: 12,687,275 for 12,817,323",
        ("DeepSeek-V4-Flash",),
    ),
    Deviation(
        "the line takes a share of matrices that experts without weights never use; what is active are whole experts",
        "active: 32,182,654,976 for 36,410,513,408",
        ("longcat_flash LongcatFlashForCausalLM",),
    ),
)
REASONS = {name: deviation for deviation in DEVIATIONS for name in deviation.names}
# transformers forces the tie of T5's kind, and keeps no trace of what the file said but whether the head is scaled.
FORGETS_THE_TIE = {"mT5-small", *(f"Flan-T5-{size} (= T5 v1.1)" for size in ("small", "base", "large", "xl", "xxl"))}
STEPS = {"s128": (128, 0), "s2048": (2048, 0), "decode": (1, 2047)}
# Types whose mixers transformers computes by the algorithm that we name; of others only the projections are the same.
SAME_ALGORITHM = {
    "lfm2",
    "lfm2_moe",
    "mamba",
    "falcon_mamba",
    "jamba",
    "mamba2",
    "nemotron_h",
    "bamba",
    "granitemoehybrid",
    "falcon_h1",
    "qwen3_next",
    "qwen3_5_text",
    "qwen3_5_moe_text",
    "olmo_hybrid",
    "minimax",
    "xlstm",
}
# The index of a layer or an expert in a name, which the lines write as *.
INDEX = re.compile(r"(?:(?<=[.])|(?<=[.]expert_))[0-9]+(?=[.]|$)")
ALSO_RIGHT = ("total", "total_if_kv_b_proj_new_token_only", "total_if_topk_only")


def stored(ledger: Ledger) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in ledger.tensors() if tensor.kind != "buffer"}


def collapsed(shapes: dict[str, tuple[int, ...]]) -> Counter[str]:
    return Counter(f"{INDEX.sub('*', name)} [{','.join(map(str, shape))}]" for name, shape in shapes.items())


def listed(lines: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in lines:
        if match := re.match(r"(.*?\])(?: x(\d+))?$", line):
            found[match[1]] += int(match[2] or 1)
    return found


def differences(name: str, line: Line) -> Iterator[str]:
    """Yield what is not as the line says."""
    try:
        spec = decode(from_config(config_of(line, "config")))
    except InputError as error:
        yield f"refused: {error}"
        return
    ledger = build(spec)
    yield from _tensors(line, ledger)
    yield from _totals(line, ledger)
    yield from _flops(line, spec, ledger)
    yield from _caches(line, spec, ledger)
    if "tensors" in line and not is_same_architecture(decode(from_config(to_config(spec))), spec):
        yield "another architecture once written and read again"
    if "config_resolved" in line and name not in FORGETS_THE_TIE:
        resolved = decode(from_config(config_of(line, "config_resolved")))
        if not is_same_architecture(resolved, spec):
            yield "another architecture in transformers' spelling"


def config_of(line: Line, key: str) -> dict[str, Any]:
    """Return a line's config with the class that was built of it."""
    return line[key] | {"architectures": [line["class"]]}


def _tensors(line: Line, ledger: Ledger) -> Iterator[str]:
    if "tensors" in line:
        ours = collapsed(tensor_map(config_of(line, "config")).shapes(stored(ledger)))
        theirs = listed(line["tensors"])
        for lack, tensors in (("no", theirs - ours), ("not theirs:", ours - theirs)):
            yield from (f"{lack} {tensor} x{n}" for tensor, n in tensors.items())


def _totals(line: Line, ledger: Ledger) -> Iterator[str]:
    found, total = params.summary(ledger), line["total_params"]
    yield from _compare("total", found["total"], total)
    if "tied" in line and _ties_the_head_alone(line):
        yield from _compare("untied", found["untied"], line["total_params_ties_counted_separately"])
    if "tied" in line:
        yield from _compare("active", found["active"], line.get("active_params", total))


def _ties_the_head_alone(line: Line) -> bool:
    """Return whether what is counted twice, if anything, is the head's matrix."""
    return not line["tied"] or (line["family"] == "decoder" and [n for *_, n in line["tied"]] == [1])


def _flops(line: Line, spec: Spec, ledger: Ledger) -> Iterator[str]:
    traced = line.get("flops", {})
    for step, (seq, past) in STEPS.items():
        if step in traced and _is_of_our_algorithm(line):
            long_enough = structs.replace(spec, n_ctx=max(spec.n_ctx, seq + past))  # a longer table costs nothing
            work = _work(long_enough, seq, past)
            right = [traced[step][key] for key in ALSO_RIGHT if key in traced[step]]
            ours = flops.summary(ledger, work)["forward"] + (second_positions(ledger, work) if past else 0)
            yield from _compare(f"FLOPs of {step}", ours, *right)


def _is_of_our_algorithm(line: Line) -> bool:
    """Return whether its FLOPs are those of the algorithm that we name: a scan differs where we compute in chunks."""
    return "impl_dependent" not in line["flops"] or line["model_type"] in SAME_ALGORITHM


def _work(spec: Spec, seq: int, past: int) -> Workload:
    source = seq + past if spec.family == "encoder-decoder" else None
    return workload(spec, seq=seq, past=past, source_seq=source)


def _caches(line: Line, spec: Spec, ledger: Ledger) -> Iterator[str]:
    """Compare cached elements after 2,047 tokens; of a window transformers keeps one less, and a counter a layer."""
    traced = line.get("flops", {}).get("decode")
    if traced is None or spec.family != "decoder":
        return
    tokens = traced["past"]
    sizes = ledger.at(_work(structs.replace(spec, n_ctx=max(spec.n_ctx, tokens)), tokens, 0))
    theirs = sizes | {symbol: min(tokens, sizes[symbol[7:-1]] - 1) for symbol in sizes if symbol.startswith("cached(")}
    sliding = {
        (row.path.rpartition(".")[0], turn)
        for row in ledger.caches
        for turn in row.layer_indices
        if any("cached(" in symbol for axis in row.cache.axes for symbol in axis.symbols())
    }
    ours = sum(row.elements(theirs) for row in ledger.caches) + len(sliding) + _state_elements(ledger)
    yield from _compare("cached elements", ours, traced["cache_elements_before_step"])


def _state_elements(ledger: Ledger) -> int:
    """Return the elements of all states; of a convolution, transformers keeps one column more than it needs."""
    total = 0
    for row in ledger.states:
        *axes, last = (axis.at(ledger.sizes) for axis in row.state.axes)
        total += math.prod(axes) * (last + row.path.endswith("conv_state")) * len(row.layer_indices)
    return total


def _compare(what: str, ours: int, *right: int) -> Iterator[str]:
    if ours not in right:
        yield f"{what}: {ours:,} for {' or '.join(f'{number:,}' for number in right)}"


@pytest.mark.parametrize("model_type", sorted(oracle.of_type().keys() & set(model_types())))
def test_every_line_of_a_model_type(model_type: str) -> None:
    wrong = []
    for name, line in oracle.of_type()[model_type].items():
        found, known = list(differences(name, line)), REASONS.get(name)
        if known is None:
            wrong += [f"{name}: {each}" for each in found]
        elif not found:
            wrong.append(f"{name}: exact by now; strike it off DEVIATIONS ({known.reason})")
        else:
            wrong += [f"{name}: {each}; DEVIATIONS has '{known.says}'" for each in found if known.says not in each]
    assert not wrong, "\n".join(["", *wrong])


def test_lines_are_all_there() -> None:
    assert [len(lines()) for lines in (oracle.published, oracle.defaults, oracle.changed)] == [141, 140, 908]
    names = [name for deviation in DEVIATIONS for name in deviation.names]
    assert len(names) == len(REASONS), "a line deviates once"
    assert REASONS.keys() <= {name for lines in oracle.of_type().values() for name in lines}


def test_a_wrong_line_is_told() -> None:
    """Each figure that is compared, off by one."""
    name = "Mixtral-8x7B"
    line = oracle.published()[name]
    assert not list(differences(name, line))
    steps = {
        step: traced | {"total": traced["total"] + 1, "cache_elements_before_step": 1}
        for step, traced in line["flops"].items()
    }
    numbers = {key: line[key] + 1 for key in line if key.startswith("total_params") or key == "active_params"}
    found = list(differences(name, line | numbers | {"flops": steps, "tensors": line["tensors"][1:]}))
    told = ["not theirs", "total", "untied", "active", "FLOPs of s128", "FLOPs of s2048", "FLOPs of decode", "cached"]
    assert len(found) == len(told)
    assert all(each.startswith(start) for each, start in zip(found, told, strict=True)), found
    assert [each[:8] for each in differences(name, line | {"config": line["config"] | {"hidden_act": "x"}})] == [
        "refused:"
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tensor_of_transformers_model(name: str) -> None:
    config = CONFIGS[name]
    shapes, ties = reference_shapes(build_reference(config))
    ours = stored(build(decode(from_config(config))))
    assert tensor_map(config).shapes(ours) == shapes
    assert set(ties.values()) <= set(shapes)
    if not name.endswith(":default"):  # The classes' own sizes are large, and a small config of each type is written.
        _transformers_reads_what_is_written(config)


def _transformers_reads_what_is_written(config: dict[str, Any]) -> None:
    written = to_config(decode(from_config(config)))
    shapes, _ = reference_shapes(build_reference(written))
    assert tensor_map(written).shapes(stored(build(decode(from_config(written))))) == shapes


def test_defaults_are_those_of_the_classes() -> None:
    """What an absent key means is a fact of transformers: its own default config says the same in full."""
    for model_type in model_types():
        needs = NEEDS.get(model_type, {})
        full = transformers.AutoConfig.for_model(model_type, **needs).to_dict()
        full = {key: value for key, value in full.items() if key != "architectures"}
        stated = decode(from_config({"model_type": model_type} | needs))
        assert is_same_architecture(stated, decode(from_config(full))), model_type


def test_a_reference_that_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="transformers refuses it"):
        build_reference({"model_type": "llama", "hidden_size": "x"})
