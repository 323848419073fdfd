"""Learned prompts (MVP): tensors, totals and FLOPs against transformers; they are counted and not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from msgspec import structs
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mvp.modeling_mvp import MvpEncoder

from archcalc.analysis import flops
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
from archcalc.spec.layer import Prompts
from archcalc.spec.workload import workload
from tests.hf.tiny.bart_like import SIDES

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
    from archcalc.spec.execution import Execution

    spec = decode(decoder())
    found = {
        row.activation.label: row.activation.axes for row in build(spec, Execution(attention="eager")).saved_activations
    }
    assert str(found["pattern"][-1]) == "keys + n_prompt"


def test_files_with_prompts_are_not_loaded(tmp_path: Path) -> None:
    transformers.MvpForConditionalGeneration(transformers.MvpConfig(**SIDES, **PROMPTS)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="use_prompt: found True; allowed: false"):
        open_checkpoint(str(tmp_path))


@torch.no_grad()
def test_a_decoder_alone_is_loaded_whatever_the_key_says(tmp_path: Path) -> None:
    theirs = transformers.MvpForCausalLM(transformers.MvpConfig(**SIDES, **PROMPTS)).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(6, 90, (2, 9))
    wanted = theirs(ids).logits
    assert (open_checkpoint(str(tmp_path)).load()(ids) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("n_tokens", [1, 3])
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
def test_a_spec_with_prompts_is_not_run(n_tokens: int, is_packed: bool) -> None:
    model = build_module(decode(decoder()), "cpu")
    model = pack(model) if is_packed else model
    cache, ids = model.new_cache(1, 4), torch.zeros(1, n_tokens, dtype=torch.long)
    with pytest.raises(InputError, match=r"^prompts: learned prompts are counted, not run; allowed: null$"):
        model(ids, cache=cache, n_logits=1)


def test_an_encoder_decoder_says_which_stack_has_them() -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(InputError, match=r"^decoder\.prompts: learned prompts are counted, not run"):
        build_module(spec_of(), "cpu")(ids, ids)


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
