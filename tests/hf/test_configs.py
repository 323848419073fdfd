"""Configs of every family: what they mean, and that they come back from a spec."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcalc import presets
from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, model_types, to_config
from archcalc.hf.equivalence import is_same_architecture
from archcalc.hf.stack import runs_of
from archcalc.sources import load
from archcalc.spec import Spec
from archcalc.spec.document import decode, encode
from archcalc.spec.groups import layers_of
from tests.examples import examples
from tests.hf.hf_configs import CONFIGS, DEEPSEEK, GPT_OSS, LLAMA, LLAMA3, QWEN_MOE, T5, YARN

# A post-norm decoder with a biased, untied head is no Hugging Face model.
NO_FAMILY = {"happy", "tiny-seq2seq"}


def spec_of(config: dict) -> Spec:
    return decode(from_config(config))


def test_every_family_has_a_config_here() -> None:
    assert {config["model_type"] for config in CONFIGS.values()} == set(model_types())


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_comes_back(name: str) -> None:
    """By the first family that has the architecture, by its own, and through a document of ours."""
    spec = spec_of(CONFIGS[name])
    written = to_config(spec)
    assert is_same_architecture(spec_of(written), spec)
    assert to_config(spec_of(written)) == written
    by_its_own = family_of(CONFIGS[name]["model_type"]).form(CONFIGS[name]).config(spec)
    assert is_same_architecture(spec_of(by_its_own), spec)
    assert decode(encode(spec)) == spec


@pytest.mark.parametrize("name", [name for name in presets.names() if name not in NO_FAMILY])
def test_a_preset_becomes_a_config_and_comes_back(name: str) -> None:
    spec = load(name)
    assert is_same_architecture(spec_of(to_config(spec)), spec)


def test_a_spec_that_no_family_has_is_refused_in_one_line() -> None:
    document = encode(spec_of({"model_type": "llama"} | LLAMA)) | {"head": {"tied": True, "bias": True}}
    with pytest.raises(
        InputError, match=r"of 'llama': the nearest, llama, cannot express head\.bias; expected a model type"
    ):
        to_config(decode(document))


def test_a_rounding_error_is_no_other_architecture() -> None:
    spec = spec_of({"model_type": "gemma2", "hidden_size": 3584})
    rounded = encode(spec) | {"embedding": {"scale": 59.86651818838307}}
    assert to_config(decode(rounded))["model_type"] == "gemma2"
    assert not is_same_architecture(decode(encode(spec) | {"embedding": {"scale": 59.8665}}), spec)


def test_old_and_new_spellings_of_rope_agree() -> None:
    old = spec_of({"model_type": "llama"} | LLAMA | {"rope_theta": 500000, "rope_scaling": LLAMA3})
    new = spec_of({"model_type": "llama"} | LLAMA | {"rope_parameters": LLAMA3 | {"rope_theta": 500000.0}})
    assert old == new


def test_a_scaling_takes_the_context_for_the_one_before_it_if_none_is_stated() -> None:
    scaling = {name: value for name, value in YARN.items() if name != "original_max_position_embeddings"}
    document = from_config({"model_type": "llama"} | LLAMA | {"rope_scaling": scaling})
    rope = document["decoder"]["runs"][0]["pattern"][0]["attention"]["position"]
    assert rope["scaling"]["n_ctx_original"] == LLAMA["max_position_embeddings"]


def test_an_absent_and_a_null_head_count_differ_where_the_class_says_so() -> None:
    heads = {
        key: spec_of({"model_type": "mistral"} | LLAMA | {"num_attention_heads": 16} | more)
        for key, more in {"absent": {}, "null": {"num_key_value_heads": None}}.items()
    }
    assert [layers_of(spec.decoder)[0].attention.n_kv_heads for spec in heads.values()] == [8, 16]


def test_groups_are_named_where_layers_differ() -> None:
    names = {
        model_type: [run["pattern"][0].get("name") for run in document["decoder"]["runs"]]
        for model_type in ("llama", "deepseek_v3", "gemma2")
        if (document := from_config({"model_type": model_type}))
    }
    assert names == {"llama": [None], "deepseek_v3": ["dense", "moe"], "gemma2": ["sliding"]}


def test_deepseek_starts_dense_and_leaves_its_prediction_modules_out() -> None:
    spec = spec_of({"model_type": "deepseek_v3"} | DEEPSEEK)
    assert spec.decoder.n_mtp == 0
    assert [run.count for run in spec.decoder.runs] == [1, None]


def test_a_window_that_is_not_used_leaves_all_layers_alike() -> None:
    assert len(spec_of(CONFIGS["qwen3:window unused"]).decoder.runs[0].pattern) == 1
    assert len(spec_of(CONFIGS["qwen3:mixed"]).decoder.runs) == 2


def test_gemma_scales_by_its_own_scalar() -> None:
    spec = spec_of({"model_type": "gemma2", "hidden_size": 4608, "query_pre_attn_scalar": 144})
    assert layers_of(spec.decoder)[0].attention.scale == 144**-0.5
    assert spec.embedding.scale == math.sqrt(4608)


def test_t5_scales_its_states_only_where_the_head_is_tied() -> None:
    tied, own = (spec_of({"model_type": "t5"} | T5 | {"tie_word_embeddings": tie}).head for tie in (True, False))
    assert tied.tied
    assert tied.scale == 32**-0.5
    assert not own.tied
    assert own.scale is None


@pytest.mark.parametrize(
    ("kinds", "runs"),
    [
        ("aaaa", [{"pattern": ["a"]}]),
        ("ababa", [{"pattern": ["a", "b"]}]),
        ("aabb", [{"count": 2, "pattern": ["a"]}, {"pattern": ["b"]}]),
        ("aaab" * 3, [{"pattern": list("aaab")}]),
        ("b", [{"pattern": ["b"]}]),
    ],
)
def test_runs_are_the_shortest(kinds: str, runs: list[dict]) -> None:
    assert runs_of(list(kinds)) == runs


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_runs_say_the_same_layers(kinds: list[str]) -> None:
    runs = runs_of(kinds)
    assert [run for run in runs if "count" not in run] == runs[-1:]
    told: list[str] = []
    for run in runs:
        count = run.get("count", len(kinds) - len(told))
        told += [run["pattern"][k % len(run["pattern"])] for k in range(count)]
    assert told == kinds


@examples(25)
@given(st.lists(st.sampled_from(("sliding_attention", "full_attention")), min_size=1))
def test_any_order_of_layers_comes_back(words: list[str]) -> None:
    config = {"model_type": "gpt_oss"} | GPT_OSS | {"layer_types": words, "num_hidden_layers": len(words)}
    spec = spec_of(config)
    windows = [layer.attention.window for layer in layers_of(spec.decoder)]
    assert windows == [128 if word == "sliding_attention" else None for word in words]
    assert is_same_architecture(spec_of(to_config(spec)), spec)


@given(st.integers(1, 9), st.lists(st.integers(0, 8), max_size=5), st.integers(1, 4))
def test_sparse_layers_stand_where_transformers_puts_them(n_layers: int, dense: list[int], step: int) -> None:
    more = {"num_hidden_layers": n_layers, "mlp_only_layers": dense, "decoder_sparse_step": step}
    spec = spec_of({"model_type": "qwen3_moe"} | QWEN_MOE | more)
    kinds = [type(layer.ffn).__name__ for layer in layers_of(spec.decoder)]
    assert kinds == ["MoE" if i not in dense and (i + 1) % step == 0 else "Gated" for i in range(n_layers)]


def test_reading_imports_one_family_and_no_tensors() -> None:
    code = (
        "import sys; from archcalc.hf import from_config; from_config({'model_type': 'llama'});"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'numpy', 'pandas')"
        " or m.startswith('archcalc.hf.families.') and not m.endswith('.llama_like')];"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
