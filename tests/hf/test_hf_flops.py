"""FLOPs against transformers' own models on meta: what torch counts of a prefill, its backward pass and a decode step.

Their attention is the eager one and their experts are gathered, for what torch's counter does not know (a grouped
product, the CPU's flash kernel) it counts as nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
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
MASK_BY_TOKEN = {
    "deberta-v2",
    "opt",
    "bloom",
    "falcon",
    "openai-gpt",
    "mvp",
    "xglm",
    "trocr",
    "fsmt",
    "mamba",
    "falcon_mamba",
    "longformer",
    "mra",
    "yoso",
    "xlnet",
    "led",
    "longt5",
    "big_bird",
    "bigbird_pegasus",
    "pegasus_x",
}
# It multiplies its embeddings by the mask, so it gets none.
NO_MASK = {"esm"}
# It joins the mask with that of its entries, so it gets the whole of it.
JOINED_MASK = {"deepseek_v4"}
# Whose class computes scores of some blocks, where ours masks the others, or of none without its kernel.
READS_BLOCKS = {"big_bird:small", "mra:small", "mra:untied"}
# Classes that have no cache (Compass and T5Gemma: none while they train; RecurrentGemma's is no output; RWKV's is
# changed in place, which no backward pass allows), or whose encoder asks for it or gives more than states, or whose
# windowed layers keep every key in theirs.
NO_CACHE = {
    "cohere_compass_text",
    "nllb-moe",
    "openai-gpt",
    "switch_transformers",
    "t5gemma",
    "recurrent_gemma",
    "rwkv",
}
KEEPS_ALL = {"gpt_neo"}
# Whose class takes the whole text in every step, and leaves out what is cached.
TAKES_ALL = {"cpmant"}
# What transformers cannot run on meta: configs, or all of a model type.
LENGTHS = "it looks whether a text is longer than its input"
NOT_ON_META = {
    "llama:dynamic": "its rope looks at the positions themselves to see how far they reach",
    "mvp:small": "its mask is looked into",
    "mvp:untied": "its mask is looked into",
    "phimoe:longrope": "its rope looks whether a text is longer than its first context",
    "xlstm:plain": "it writes into the states that its backward pass needs",
    "jetmoe": "it looks which experts are chosen",
    "dbrx": "it looks which experts are chosen",
    "fsmt": "torch's counter asks for the gradient of a tensor that has none",
    "deepseek_v4": "torch's counter asks for the gradient of a tensor that has none",
    "longformer": "it looks for tokens that are global",
    "led": "it looks for tokens that are global",
    "longt5": "its mask is looked into",
    "pegasus_x": "its mask is looked into",
    "bigbird_pegasus:small": "its mask is looked into",
    "bigbird_pegasus:untied": "its mask is looked into",
    "big_bird:full": "its mask is looked into",
    "ibert": "it looks whether the ranges of its activations are numbers",
    "xmod": "it looks which texts are of a language",
    "xlm": LENGTHS,
    "flaubert": LENGTHS,
    "longcat_flash": "it looks which experts are chosen",
    "nllb-moe:mixed": "it looks which experts are chosen",
    "nllb-moe:untied": "it looks which experts are chosen",
    "switch_transformers": "it looks which experts are chosen",
}
# The classes' own sizes: large, and no other choices than the small ones.
LARGE = {name for name in CONFIGS if name.endswith(":default")}


@pytest.fixture(scope="module", autouse=True)
def _no_collecting() -> Iterator[None]:
    """Looking for garbage among the graphs of large models takes a fifth of the time, and finds none."""
    gc.disable()
    yield
    gc.enable()


def counted(spec: Spec, config: dict[str, Any], seq: int) -> dict[str, int]:
    """What torch counts: `seq` tokens forward, backward, and one more after them through the cache, if there is one."""
    model = build_reference(config)
    for module in model.modules():
        if hasattr(module, "layerdrop"):
            module.layerdrop = 0.0  # it skips layers at random
        for name, tensor in list(module.named_parameters(recurse=False)):
            if not tensor.is_meta:  # DiffLlama draws numbers of its own
                setattr(module, name, nn.Parameter(tensor.to("meta")))
    model.set_attn_implementation("eager")
    model.set_experts_implementation("batched_mm")
    crosses = spec.family == "encoder-decoder"
    caches = spec.decoder is not None and config["model_type"] not in NO_CACHE
    more: dict[str, Any] = {"use_cache": True} if caches else {}
    target = {"decoder_input_ids": _ids(seq)} if crosses else {}
    with FlopCounterMode(display=False) as forward:
        out = model(_ids(seq), **target, **more, attention_mask=_mask(config, seq, seq))
    with FlopCounterMode(display=False, custom_mapping=CONVOLUTION) as backward:
        out.logits.sum().backward()
    found = {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}
    if caches:
        name = next(name for name in ("cache_params", "state", "past_key_values") if name in out)
        n_keys = 1 if name == "cache_params" else seq + (not crosses)  # Mamba's mask is that of the new tokens
        more |= {name: out[name], "attention_mask": _mask(config, n_keys)}
        if crosses:
            more |= {"encoder_outputs": (out.encoder_last_hidden_state,), "decoder_input_ids": _ids(1)}
        else:
            more["input_ids"] = _ids(seq + 1 if config["model_type"] in TAKES_ALL else 1)
        with torch.no_grad(), FlopCounterMode(display=False) as step:
            model(**more)
        found["decode"] = step.get_total_flops()
    return found


def _ids(seq: int) -> Tensor:
    return torch.zeros(1, seq, dtype=torch.long, device="meta")


def _mask(config: dict[str, Any], keys: int, queries: int = 1) -> Tensor | None:
    """Without one, most of transformers would look into the input, which on meta is not there."""
    if config["model_type"] in NO_MASK:
        return None
    if config["model_type"] in JOINED_MASK:
        n_keys = keys if queries > 1 else min(keys, config["sliding_window"])
        return torch.ones(1, 1, queries, n_keys, device="meta")
    return torch.ones((1, keys) if config["model_type"] in MASK_BY_TOKEN else (1, 1, 1, 1), device="meta")


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
    assert counted(spec, to_config(spec), seq) == stated(spec, seq)


@pytest.mark.parametrize("name", NO_MODEL)
def test_presets_that_are_left_out_have_no_model(name: str) -> None:
    with pytest.raises(InputError, match="no Hugging Face model has the architecture"):
        to_config(load(name))


SMALL = [name for name in CONFIGS if name not in LARGE]
LEFT_OUT = [name for name in SMALL if {name, name.split(":")[0]} & NOT_ON_META.keys()]


@pytest.mark.parametrize("name", [name for name in SMALL if name not in LEFT_OUT])
def test_small_models_of_every_family(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More tokens than most of their windows hold."""
    monkeypatch.setattr(modeling_mra, "mra2_attention", MRA_KERNEL)  # a test of logits replaces it
    spec = decode(from_config(CONFIGS[name]))
    config = family_of(CONFIGS[name]["model_type"]).form(CONFIGS[name]).config(spec)
    theirs = counted(spec, config, SHORT)
    family = family_of(config["model_type"])
    ours = stated(all_experts(spec) if family.runs_all_experts else spec, SHORT)
    # No gradient reaches the pooler, and the encoder runs once for all steps.
    for step in ours.keys() - {"backward", *(["decode"] if spec.encoder else [])}:
        ours[step] += pooler_flops(family, spec)
    if config["model_type"] in NO_CACHE:
        ours.pop("decode")
    if config["model_type"] in KEEPS_ALL:
        assert theirs.pop("decode") >= ours.pop("decode")
    if name in READS_BLOCKS:
        assert all(theirs.pop(step) < ours.pop(step) for step in ("forward", "backward"))
    assert theirs == ours


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_cannot_be_run_on_meta(name: str) -> None:
    with pytest.raises((RuntimeError, AssertionError), match=r"meta|gradient function|inplace"):
        counted(decode(from_config(CONFIGS[name])), CONFIGS[name], SHORT)
