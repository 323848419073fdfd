"""Weights, FLOPs, caches and saved activations of one small model for each mixer, sparse pattern and rare part.

Drawn specs have them too, but not in every few examples. `tests/mutation` runs these.
"""

from __future__ import annotations

from functools import cache

import pytest

from archcalc.analysis.flops import summary
from archcalc.analysis.memory import summary as memory
from archcalc.analysis.tensor_names import tensor_name
from archcalc.hf import from_config
from archcalc.ledger.build import build
from archcalc.ledger.rows import Ledger
from archcalc.proof import verify
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.words import Message
from tests import test_activations as activations
from tests import test_workloads as workloads
from tests.hf.tiny import TINY
from tests.nn import flop_truth

MODELS = (
    "axk2:mixed",
    "bailing_hybrid:mixed",
    "big_bird:small",
    "deberta-v2:with a convolution",
    "deberta:of another head",
    "deepseek_v32:mixed",
    "deepseek_v4:all kinds",
    "dots3_note_text:mixed",
    "diffllama:biased",
    "doge:experts",
    "doge:kept",
    "inkling_text:late",
    "inkling2_text:all kinds",
    "falcon_h1:multiplied",
    "gemma3n_text:lists",
    "gemma4_text:both",
    "glm_moe_dsa:shared",
    "hy_v4:mixed",
    "jetmoe:plain",
    "kimi_linear:mixed",
    "lfm2:biased",
    "longformer:small",
    "longt5:transient",
    "mamba2:other switches",
    "mamba:other switches",
    "minimax:mixed",
    "mvp:small",
    "qwen3_next:mixed",
    "recurrent_gemma:mixed",
    "roc_bert:of words",
    "roformer:small",
    "rwkv:default switches",
    "stablelm:normed queries",
    "umt5:small",
    "xlstm:other switches",
    "xlstm:plain",
    "zaya:default switches",
    "zaya:sliding",
)
# Its products of streams are rows of the streams, and computed by the layers.
STREAMS = ("gemma3n_text:lists", "deepseek_v4:all kinds", "inkling2_text:all kinds")
# torch's counter asks for the gradient of a table that has none.
NOT_COUNTED = ("deberta:of another head",)
each = pytest.mark.parametrize("name", MODELS)


@cache
def small(name: str) -> Spec:
    model_type, _, _ = name.partition(":")
    return decode(from_config({"model_type": model_type} | TINY[name]))


@each
def test_weights_are_those_of_the_module(name: str) -> None:
    (found,) = verify(small(name))
    assert found.is_equal


@pytest.mark.parametrize("name", [name for name in MODELS if name not in NOT_COUNTED])
def test_work_is_that_of_the_module(name: str) -> None:
    spec = small(name)
    prefill = workloads.fitting(spec, 11, batch=2)
    found = flop_truth.prefill(spec, prefill.batch, prefill.seq, prefill.source_seq)
    assert found.total == summary(build(spec), prefill)["forward"]
    assert workloads.counted(found) == workloads.stated(spec, prefill) or name in STREAMS
    if spec.decoder is None:
        return
    step = workloads.fitting(spec, 1, 9, batch=2)
    found = flop_truth.decode(spec, step.batch, step.seq, step.past, step.source_seq)
    assert found.total == summary(build(spec), step)["forward"]
    assert workloads.counted(found) == workloads.stated(spec, step) or name in STREAMS
    kept = memory(build(spec), step, "bf16")
    assert kept["kv_cache_bytes"] + kept["state_bytes"] == workloads.allocated(spec, step)


@each
@pytest.mark.parametrize(
    "how",
    [Execution(dtype="bf16"), Execution(dtype="fp32", attention="math", recompute="selective")],
    ids=["eager", "math, selective"],
)
def test_saved_activations_are_those_of_autograd(name: str, how: Execution) -> None:
    spec = small(name)
    work = activations.fitting(spec, 11, batch=2)
    assert activations.stated(spec, work, how) == activations.measured(spec, work, how)


# Labels of saved tensors that no module has as its name, and that are the same in all languages.
LABELS = """
    1/length, B, b, beta · k, C, c, content.r, content.r_scale, decay, decayed keys · keys, decayed queries · keys,
    decays, denominators, exp(A_log), exp(decay), exp(decay_log), exp(q1 · k1), exp(q2 · k2), expm1, factor, factors,
    gate, hidden, i · u, innovation, joined, k_norm, key_bias.steps, keys · decays, layers.{i}.streams.attn.query,
    layers.{i}.streams.ffn.query, layers.{i}.streams.predict, length, magnitude, magnitudes, multiplied, multipliers,
    numerators, pooled, product, projected, projections, quotient, rate, rates, read, routed, scales, scan, selection,
    sigmoid, softmax, softplus, streams.query, tanh, u, v, weights, z, Δ, Δ + dt_bias, Δ · u, Δ · v, λ, −exp(decay_log),
    √(1 − a²)
"""


# Elementwise operations that no module has as its name.
OPERATIONS = {"activation", "core", "decay", "delta", "gate", "k", "k_norm", "norm", "q_norm", "read", "scan"}
OPERATIONS |= {"second_half_softmax", "softmax", "v_norm", "write"}


def modules(ledger: Ledger) -> set[str]:
    """Return the names of modules at all depths."""
    return {part for row in (*ledger.rows, *ledger.tied, *ledger.matmuls) for part in row.path.split(".")}


def test_saved_tensors_and_operations_have_the_names_of_modules() -> None:
    tensors, operations = set(), set()
    for name in MODELS:
        ledger = build(small(name), Execution(dtype="bf16"))
        labels = {row.activation.label for row in ledger.saved_activations} - modules(ledger)
        tensors |= {label for label in labels if not isinstance(tensor_name(label), Message)}
        operations |= {row.path.rpartition(".")[2] for row in ledger.elementwise} - modules(ledger)
    assert tensors == {label.strip() for label in LABELS.split(",")}
    assert operations == OPERATIONS


# Products of activations with each other: no weight has their name.
PRODUCTS = """
    c · b, c · state, c · states, content · profiles, decays · states, hidden · down, keys · keys, keys · state, logits,
    mix, new state, pos_key_scores, pos_query_scores, queries · keys, queries · state, queries · sum, scan, scores,
    scores · v, scores · values, second_half_scores, second_half_values, sum, summaries, sums, triangular solve,
    up · x, v · b, values
"""
# The components of what a layer has, by its part. Norms are a component of their own in any of them.
COMPONENTS_OF = {
    "attn": {"attention", "position"},
    "cross": {"attention"},
    "experts": {"ffn"},
    "ffn": {"ffn"},
    "laurel": {"ffn"},
    "mixer": {"mixer"},
    "per_layer": {"ffn"},
}


def test_products_have_the_names_of_weights_or_their_own() -> None:
    found = set()
    for name in MODELS:
        ledger = build(small(name))
        of_weights = {part for row in (*ledger.rows, *ledger.tied) for part in row.path.split(".")}
        found |= {row.path.rpartition(".")[2] for row in ledger.matmuls} - of_weights
    assert found == {name.strip() for name in PRODUCTS.split(",")}


def test_rows_of_a_part_count_in_its_component() -> None:
    found: dict[str, set[str]] = {}
    for name in MODELS:
        ledger = build(small(name), Execution(dtype="bf16"))
        for row in (*ledger.counted_rows, *ledger.matmuls, *ledger.elementwise, *ledger.saved_activations):
            _, in_layer, part = row.path.partition("layers.{i}.")
            if in_layer:
                found.setdefault(part.split(".")[0], set()).add(row.component)
    assert {part: found[part] - {"norm"} for part in COMPONENTS_OF} == COMPONENTS_OF
    assert set.union(*(found[part] for part in found.keys() - COMPONENTS_OF.keys())) == {"norm", "other"}
