"""FLOPs against transformers' own models: what torch counts of a prefill, its backward pass and a decode step.

Their attention is the eager one and their experts are gathered, for what torch's counter does not know (a grouped
product, the CPU's flash kernel) it counts as nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mra import modeling_mra

from archcalc.analysis.flops import summary
from archcalc.coverage import all_experts, pooler_flops
from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, to_config
from archcalc.hf.reference import build_reference
from archcalc.ledger.build import build
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.document import decode
from archcalc.spec.workload import workload
from tests.checkpoint.random_models import MRA_KERNEL
from tests.hf.conv_steps import channel_decays, second_positions
from tests.hf.hf_configs import CONFIGS
from tests.nn.flop_truth import CONVOLUTION
from tests.structures import STRUCTURES
from tests.test_workloads import shallow

SEQ, SHORT = 128, 13
# Presets that no class of transformers has the architecture of.
NO_MODEL = {
    "happy": "made up to have a little of everything",
    "tiny-seq2seq": "norms before, learned positions, no biases",
}
# Their positions are read off a mask of two axes; the others' masks may be made whole, and spread over all keys.
MASK_BY_TOKEN = {"opt", "bloom", "falcon", "mamba"}
# Whose class computes scores of some blocks, where ours masks the others, or of none without its kernel.
READS_BLOCKS = {"big_bird:small", "mra:small", "mra:untied"}
# Classes that have no cache (Compass and T5Gemma: none while they train; XLM's, RecurrentGemma's is no output; RWKV's
# is changed in place, which no backward pass allows), or whose encoder asks for it or gives more than states, or whose
# windowed layers keep every key in theirs.
NO_CACHE = {
    "cohere_compass_text",
    "nllb-moe",
    "openai-gpt",
    "switch_transformers",
    "t5gemma",
    "recurrent_gemma",
    "rwkv",
    "xlm",
    "flaubert",
}
KEEPS_ALL = {"gpt_neo"}
# Whose class takes the whole text in every step, and leaves out what is cached.
TAKES_ALL = {"cpmant"}
# What costs another thing in transformers: configs, or all of a model type.
WHOLE_BLOCKS = "its class pads the text to whole blocks, and computes scores of their neighbors"
OTHERWISE = {
    "longcat_flash:default switches": "a token that chooses an expert without weights costs less",
    "nllb-moe:mixed": "its class runs its first two experts alone",
    "nllb-moe:untied": "its class runs its first two experts alone",
    "longformer": WHOLE_BLOCKS,
    "led": WHOLE_BLOCKS,
    "longt5": WHOLE_BLOCKS,
    "bigbird_pegasus:small": WHOLE_BLOCKS,
    "pegasus_x": WHOLE_BLOCKS,
}
# What its class does not run: its backward pass needs states that are written over; its cache is another one's.
NOT_RUN = {"xlstm:plain": "modified by an inplace operation", "flaubert:with norms before": "is not subscriptable"}
# The classes' own sizes: large, and no other choices than the small ones.
LARGE = {name for name in CONFIGS if name.endswith(":default")}


@pytest.fixture(scope="module", autouse=True)
def _no_collecting() -> Iterator[None]:
    """Looking for garbage among the graphs of large models takes a fifth of the time, and finds none."""
    gc.disable()
    yield
    gc.enable()


class _Everywhere(nullcontext[None]):
    """The place of every operation: torch's own tracker asks each output for its gradient, and not all have one."""

    parents = ("Global",)


def counting() -> FlopCounterMode:
    """A counter of torch that counts short convolutions too, and knows no modules."""
    counter = FlopCounterMode(display=False, custom_mapping=CONVOLUTION)
    counter.mod_tracker = _Everywhere()
    return counter


def on_meta(config: dict[str, Any]) -> Any:
    """transformers' model without weights, for the large ones."""
    model = build_reference(config)
    for module in model.modules():
        for name, tensor in list(module.named_parameters(recurse=False)):
            if not tensor.is_meta:  # DiffLlama draws numbers of its own
                setattr(module, name, nn.Parameter(tensor.to("meta")))
    return model


def with_weights(config: dict[str, Any]) -> Any:
    """transformers' model with random weights: a small one is faster than on meta, and may look at its numbers."""
    torch.manual_seed(0)
    model = build_reference(config)
    return type(model)(model.config)


def counted(model: Any, spec: Spec, seq: int) -> dict[str, int]:
    """What torch counts: `seq` tokens forward, backward, and one more after them through the cache, if there is one."""
    model_type = model.config.model_type
    for module in model.modules():
        if hasattr(module, "layerdrop"):
            module.layerdrop = 0.0  # it skips layers at random
    model.set_attn_implementation("eager")
    model.set_experts_implementation("batched_mm")
    crosses = spec.family == "encoder-decoder"
    caches = spec.decoder is not None and model_type not in NO_CACHE
    more: dict[str, Any] = {"use_cache": True} if caches else {}
    target = {"decoder_input_ids": _ids(model, seq)} if crosses else {}
    with counting() as forward:
        out = model(_ids(model, seq), **target, **more, attention_mask=_mask(model, seq))
    with counting() as backward:
        out.logits.sum().backward()
    found = {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}
    if caches:
        name = next(name for name in ("cache_params", "state", "past_key_values") if name in out)
        n_keys = 1 if name == "cache_params" else seq + (not crosses)  # Mamba's mask is that of the new tokens
        more |= {name: out[name], "attention_mask": _mask(model, n_keys)}
        if crosses:
            more |= {"encoder_outputs": (out.encoder_last_hidden_state,), "decoder_input_ids": _ids(model, 1)}
        else:
            more["input_ids"] = _ids(model, seq + 1 if model_type in TAKES_ALL else 1)
        with torch.no_grad(), counting() as step:
            model(**more)
        found["decode"] = step.get_total_flops()
    return found


def _ids(model: Any, seq: int) -> Tensor:
    """Tokens that mean nothing special to any model."""
    return torch.arange(5, 5 + seq, device=model.device)[None]


def _mask(model: Any, keys: int) -> Tensor | None:
    """On meta, most of transformers would look into the input without one."""
    if model.device.type != "meta":
        return None
    return torch.ones((1, keys) if model.config.model_type in MASK_BY_TOKEN else (1, 1, 1, 1), device="meta")


def stated(spec: Spec, seq: int) -> dict[str, int]:
    """The same by the ledger."""
    ledger = build(spec)
    prefill = summary(ledger, workload(spec, seq=seq))
    forward, backward = channel_decays(spec, ledger, workload(spec, seq=seq))
    found = {"forward": prefill["forward"] + forward, "backward": prefill["backward"] + backward}
    if spec.decoder is not None:
        source = seq if spec.family == "encoder-decoder" else None
        step = workload(spec, seq=1, past=seq, source_seq=source)
        found["decode"] = summary(ledger, step)["forward"] + second_positions(ledger, step)
    return found


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name not in NO_MODEL])
def test_presets_cost_what_transformers_models_do(name: str) -> None:
    """gpt-oss' sliding layers drop one of the 128 tokens before the next."""
    spec = shallow(name)
    seq = min(SEQ, spec.n_ctx - 1)
    assert counted(on_meta(to_config(spec)), spec, seq) == stated(spec, seq)


@pytest.mark.parametrize("name", NO_MODEL)
def test_presets_that_are_left_out_have_no_model(name: str) -> None:
    with pytest.raises(InputError, match="no Hugging Face model has the architecture"):
        to_config(load(name))


SMALL = [name for name in CONFIGS if name not in LARGE]
LEFT_OUT = [name for name in SMALL if {name, name.split(":")[0]} & OTHERWISE.keys()]


def both(name: str) -> tuple[dict[str, int], dict[str, int]]:
    """What transformers' model of a small config costs, and what ours does."""
    spec = decode(from_config(CONFIGS[name]))
    config = family_of(CONFIGS[name]["model_type"]).form(CONFIGS[name]).config(spec)
    family = family_of(config["model_type"])
    with sdpa_kernel(SDPBackend.MATH):  # the counter does not know the CPU's flash kernel
        theirs = counted(with_weights(config), spec, SHORT)
    ours = stated(all_experts(spec) if family.runs_all_experts else spec, SHORT)
    # No gradient reaches the pooler, and the encoder runs once for all steps.
    for step in ours.keys() - {"backward", *(["decode"] if spec.encoder else [])}:
        ours[step] += pooler_flops(family, spec)
    if config["model_type"] in NO_CACHE:
        ours.pop("decode", None)
    return theirs, ours


@pytest.fixture
def _mra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modeling_mra, "mra2_attention", MRA_KERNEL)  # a test of logits replaces it


@pytest.mark.usefixtures("_mra")
@pytest.mark.parametrize("name", [name for name in SMALL if name not in {*LEFT_OUT, *NOT_RUN}])
def test_small_models_of_every_family(name: str) -> None:
    """More tokens than most of their windows hold."""
    theirs, ours = both(name)
    if name.split(":")[0] in KEEPS_ALL:
        assert theirs.pop("decode") >= ours.pop("decode")
    if name in READS_BLOCKS:
        assert all(theirs.pop(step) < ours.pop(step) for step in ("forward", "backward"))
    assert theirs == ours


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_costs_another_thing(name: str) -> None:
    theirs, ours = both(name)
    assert theirs["forward"] != ours["forward"]


@pytest.mark.parametrize("name", NOT_RUN)
def test_what_is_left_out_is_not_run(name: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=NOT_RUN[name]):
        both(name)
