"""Learned prompts (MVP): tensors, totals, FLOPs and outputs against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mvp.modeling_mvp import MvpEncoder

from archcalc import taps
from archcalc.analysis import flops
from archcalc.analysis.activations import saved_tensors
from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.hf import from_config, tensor_map, to_config
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.reference import build_reference, reference_shapes
from archcalc.ledger.build import build
from archcalc.nn.build import build as build_module
from archcalc.proof import verify
from archcalc.run.pack.packed_model import pack
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.execution import Execution
from archcalc.spec.layer import Prompts
from archcalc.spec.sites import sites
from archcalc.spec.workload import workload
from tests.checkpoint.test_logits import assert_close
from tests.examples import examples
from tests.hf.tiny.bart_like import SIDES
from tests.nn import flop_truth, saved_truth
from tests.strategies import prompted_specs

PROMPTS = {"use_prompt": True, "prompt_length": 5, "prompt_mid_dim": 12}
KINDS = ("ForConditionalGeneration", "Model", "ForSequenceClassification", "ForQuestionAnswering", "ForCausalLM")
LAYER = {
    "norm": {"kind": "layernorm"},
    "attention": {"kind": "gqa", "n_heads": 4},
    "ffn": {"kind": "plain", "d_ff": 32, "activation": "gelu"},
}


def config_of(kind: str = "ForConditionalGeneration", **more: Any) -> dict[str, Any]:
    return {"model_type": "mvp", "architectures": [f"Mvp{kind}"]} | SIDES | PROMPTS | more


def spec_of(kind: str = "ForConditionalGeneration", **more: Any) -> Spec:
    return decode(from_config(config_of(kind, **more)))


def decoder(layer: dict[str, Any] = LAYER, **stack: Any) -> dict[str, Any]:
    prompts = {"n_prompt": 5, "d_prompt": 12}
    whole = {"n_layers": 2, "runs": [{"pattern": [layer]}], "prompts": prompts} | stack
    return {"name": "prompted", "vocab_size": 31, "n_ctx": 16, "d_model": 16, "decoder": whole}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"prompt_length": 7, "prompt_mid_dim": 20, "tie_word_embeddings": False}])
def test_a_class_counts_its_prompts(kind: str, more: dict[str, Any]) -> None:
    spec, reference = spec_of(kind, **more), build_reference(config_of(kind, **more))
    assert build(spec).total() == sum(parameter.numel() for parameter in reference.parameters())
    assert is_same_architecture(decode(from_config(to_config(spec))), spec)
    assert all(comparison.is_equal for comparison in verify(spec))


def test_prompts_are_those_of_the_class_by_name() -> None:
    ours = {tensor.name: tensor.shape for tensor in build(spec_of()).tensors() if tensor.kind != "buffer"}
    theirs, _ = reference_shapes(build_reference(config_of()))
    assert tensor_map(config_of()).shapes(ours) == theirs
    assert ours["decoder.prompts.cross.down.weight"] == (2 * 2 * 32, 12)


@torch.no_grad()
def test_flops_are_those_of_transformers() -> None:
    theirs = transformers.MvpForConditionalGeneration(transformers.MvpConfig(**SIDES, **PROMPTS)).eval()
    ids, source = torch.randint(6, 90, (2, 9)), torch.randint(6, 90, (2, 7))
    spec = spec_of()
    with FlopCounterMode(display=False) as whole:
        states = theirs(input_ids=source, decoder_input_ids=ids)
    assert flops.summary(build(spec), workload(spec, batch=2, seq=9, source_seq=7))["forward"] == (
        whole.get_total_flops()
    )
    with FlopCounterMode(display=False) as step:
        theirs(
            encoder_outputs=(states.encoder_last_hidden_state,),
            decoder_input_ids=ids[:, :1],
            past_key_values=states.past_key_values,
        )
    assert flops.summary(build(spec), workload(spec, batch=2, seq=1, past=9, source_seq=7))["forward"] == (
        step.get_total_flops()
    )


@torch.no_grad()
def test_an_encoder_makes_its_prompts_once_for_a_source() -> None:
    """The class's encoder can have prompts, though the whole model never asks for them."""
    config = transformers.MvpConfig(**SIDES, **PROMPTS)
    theirs, source = MvpEncoder(config, use_prompt=True).eval(), torch.randint(6, 90, (2, 7))
    plain = MvpEncoder(config).eval()
    with FlopCounterMode(display=False) as counter:
        theirs(source)
    with FlopCounterMode(display=False) as without:
        plain(source)
    spec = spec_of(use_prompt=False)
    prompted = structs.replace(spec, encoder=structs.replace(spec.encoder, prompts=Prompts(n_prompt=5, d_prompt=12)))
    n_more = sum(p.numel() for p in theirs.parameters()) - sum(p.numel() for p in plain.parameters())
    assert build(prompted).total() - build(spec).total() == n_more
    for past, wanted in ((0, counter.get_total_flops() - without.get_total_flops()), (9, 0)):
        found = [
            flops.summary(build(each), workload(each, batch=2, seq=1, past=past, source_seq=7))["forward"]
            for each in (prompted, spec)
        ]
        assert found[0] - found[1] == wanted


def test_no_cache_keeps_prompts() -> None:
    prompted, plain = build(spec_of()), build(spec_of(use_prompt=False))
    assert prompted.caches == plain.caches


def test_what_is_attended_to_is_saved_with_the_prompts() -> None:
    spec = decode(decoder())
    found = {
        row.activation.label: row.activation.axes for row in build(spec, Execution(attention="eager")).saved_activations
    }
    assert str(found["pattern"][-1]) == "keys + n_prompt"


@pytest.mark.parametrize("kind", ["ForConditionalGeneration", "Model", "ForSequenceClassification"])
@torch.no_grad()
def test_outputs_are_those_of_the_class(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = getattr(transformers, f"Mvp{kind}")(transformers.MvpConfig(**SIDES, **PROMPTS, eos_token_id=2)).eval()
    for weight in theirs.parameters():
        weight.normal_(std=0.3)
    theirs.save_pretrained(tmp_path)
    ids, source = torch.randint(6, 90, (2, 9)), torch.randint(6, 90, (2, 9))
    source[:, -1] = 2
    found = theirs(input_ids=source, decoder_input_ids=ids)
    wanted = found[0] if kind == "Model" else found.logits
    ours = open_checkpoint(str(tmp_path)).load()
    assert_close(ours(source, ids), wanted)
    if kind == "ForConditionalGeneration":
        cache = ours.new_cache(2, 16)
        ours.encode(source, cache=cache)
        steps = [ours(step, cache=cache) for step in ids.split((4, 1, 4), 1)]
        assert_close(torch.cat(steps, 1), wanted)


@torch.no_grad()
def test_padding_of_the_source_is_hidden_beside_prompts(tmp_path: Path) -> None:
    theirs = transformers.MvpForConditionalGeneration(transformers.MvpConfig(**SIDES, **PROMPTS)).eval()
    theirs.save_pretrained(tmp_path)
    ours = open_checkpoint(str(tmp_path)).load()
    ids, source = torch.randint(6, 90, (1, 5)), torch.randint(6, 90, (1, 7))
    padded, is_padding = torch.cat((source, source[:, :2]), 1), torch.arange(9)[None] >= 7
    assert_close(ours(padded, ids, source_padding_BS=is_padding), ours(source, ids))


@torch.no_grad()
def test_a_decoder_alone_is_loaded_whatever_the_key_says(tmp_path: Path) -> None:
    theirs = transformers.MvpForCausalLM(transformers.MvpConfig(**SIDES, **PROMPTS)).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(6, 90, (2, 9))
    wanted = theirs(ids).logits
    assert (open_checkpoint(str(tmp_path)).load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@torch.no_grad()
def test_a_decoder_with_prompts_runs_with_a_cache(is_packed: bool) -> None:
    torch.manual_seed(0)
    model = build_module(decode(decoder()), "cpu").eval()
    ids = torch.randint(31, (2, 6))
    wanted = model(ids)
    assert (wanted - build_module(decode(decoder(prompts=None)), "cpu")(ids)).abs().max() > 0
    model = pack(model) if is_packed else model
    cache = model.new_cache(2, 6)
    steps = [model(step, cache=cache, n_logits=1) for step in ids.split((3, 1, 2), 1)]
    assert_close(torch.cat(steps, 1), wanted[:, [2, 3, 5]])


@examples(5)
@given(spec=prompted_specs(), recompute=st.sampled_from(("none", "full")))
def test_modules_and_ledger_agree(spec: Spec, recompute: str) -> None:
    work = workload(spec, batch=2, seq=5, source_seq=4)
    assert flops.summary(build(spec), work)["forward"] == flop_truth.prefill(spec, 2, 5, 4).total
    execution = Execution(dtype="fp32", recompute=recompute)
    ours = sum(tensor.bytes for tensor in saved_tensors(build(spec, execution), work, execution))
    assert ours == sum(tensor.nbytes for tensor in saved_truth.kept(spec, work, execution))


def test_sites_of_scores_count_the_prompts() -> None:
    model = build_module(decode(decoder()), "cpu")
    recorded = taps.record(model, torch.zeros(2, 3, dtype=torch.long))
    shapes = {site.name: site.shape(workload(model.spec, batch=2, seq=3)) for site in sites(model.spec)}
    assert {name: tuple(value.shape) for name, value in recorded.items()} == shapes
    assert shapes["layers.0.attn.pattern"] == (2, 4, 3, 3 + 5)


@pytest.mark.parametrize(
    ("layer", "stack"),
    [
        ({"attention": {"kind": "gqa", "n_heads": 4, "window": 3}}, {}),
        ({"attention": {"kind": "gqa", "n_heads": 4, "sinks": True}}, {}),
        ({"attention": {"kind": "gqa", "n_heads": 4, "d_value": 3}}, {}),
        ({"attention": {"kind": "gqa", "n_heads": 4, "position": {"kind": "alibi"}}}, {}),
        ({"attention": None}, {}),
        ({}, {"runs": [{"pattern": [LAYER, LAYER | {"attention": {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2}}]}]}),
        ({}, {"n_mtp": 1, "final_norm": {"kind": "layernorm"}}),
        ({}, {"runs": [{"pattern": [LAYER], "share_weights": True}]}),
    ],
    ids=str,
)
def test_prompts_that_cannot_be_read_are_refused(layer: dict[str, Any], stack: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"decoder\.prompts: "):
        decode(decoder(LAYER | layer, **stack))
