"""Which tensors each quantization method stores in which format, exceptions by module included."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc.analysis.stored_weights import stored_weights
from archcalc.errors import InputError
from archcalc.hf.storage import patterns
from archcalc.ledger.build import build
from tests.hf.storage.tiny_llama import LLAMA, bytes_of, formats_of

ATTENTION = [f"layers.{{i}}.attn.{name}.weight" for name in ("q", "k", "v", "out")]
FFN = [f"layers.{{i}}.ffn.{name}.weight" for name in ("gate", "up", "down")]
MOE = {
    "model_type": "qwen3_moe",
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
}


@pytest.mark.parametrize(
    ("settings", "attention", "ffn", "head"),
    [
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 64, "desc_act": True},
            "gptq-int4-g64",
            "gptq-int4-g64",
            "bf16",
        ),
        ({"bits": 8, "group_size": -1, "desc_act": False}, "gptq-int8", "gptq-int8", "bf16"),
        ({"quant_method": "gptq", "bits": 4, "lm_head": True}, "gptq-int4-g128", "gptq-int4-g128", "gptq-int4-g128"),
        (
            {"quant_method": "gptq", "bits": 4, "dynamic": {r"-:.*self_attn.*": {}, r"+:.*mlp.*": {"bits": 8}}},
            "bf16",
            "gptq-int8-g128",
            "bf16",
        ),
        (
            {
                "quant_method": "gptq",
                "bits": 4,
                "modules_in_block_to_quantize": [["self_attn.q_proj"], ["mlp.up_proj"]],
            },
            "gptq-int4-g128 bf16 bf16 bf16",
            "bf16 gptq-int4-g128 bf16",
            "bf16",
        ),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "awq-int4-g64", "awq-int4-g64", "bf16"),
        ({"quant_method": "awq", "modules_to_not_convert": ["self_attn"]}, "bf16", "awq-int4-g128", "bf16"),
        (
            {
                "quant_method": "auto-round",
                "bits": 4,
                "extra_config": {"model.layers.0.self_attn.q_proj": {"bits": 16}},
            },
            "bf16+auto-round-int4-g128 auto-round-int4-g128 auto-round-int4-g128 auto-round-int4-g128",
            "auto-round-int4-g128",
            "bf16",
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8-bnb", "int8-bnb", "bf16"),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "llm_int8_skip_modules": ["model.layers.*.self_attn"]},
            "bf16",
            "nf4-single",
            "nf4-single",
        ),
        ({"quant_method": "eetq"}, "int8", "int8", "bf16"),
        (
            {"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["model.layers.*.mlp"]},
            "fp8-row",
            "bf16",
            "fp8-row",
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head", "*self_attn*"]},
            "bf16",
            "nvfp4",
            "bf16",
        ),
        (
            {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head", "model.layers.*.mlp"]}},
            "fp8",
            "bf16",
            "bf16",
        ),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {
                    **{f"model.layers.{i}.mlp.up_proj": {"quant_algo": "NVFP4"} for i in range(2)},
                    "model.layers.1.self_attn.q_proj": {"quant_algo": "FP8"},
                },
            },
            "bf16+fp8 bf16 bf16 bf16",
            "bf16 nvfp4 bf16",
            "bf16",
        ),
        ({"quant_method": "bitnet"}, "bitnet", "bitnet", "bf16"),
    ],
    ids=str,
)
def test_each_tensor_has_its_format(settings: dict[str, Any], attention: str, ffn: str, head: str) -> None:
    found = formats_of(settings)
    for wanted, paths in ((attention, ATTENTION), (ffn, FFN), (head, ["head.weight"])):
        words = wanted.split(" ")
        assert [found.pop(path) for path in paths] == (words if len(words) > 1 else words * len(paths))
    assert set(found.values()) == {"bf16"}, "tables and norms are as the dtype says"


def test_mlx_stores_tables_and_the_head_in_its_format_too() -> None:
    settings = {
        "bits": 4,
        "group_size": 64,
        "lm_head": False,
        "model.layers.0.mlp.up_proj": {"bits": 8, "group_size": 32},
    }
    found = formats_of(settings, "quantization")
    assert found["embed.tokens.weight"] == "mlx-int4-g64"
    assert found["head.weight"] == "bf16"
    assert found["layers.{i}.ffn.up.weight"] == "mlx-int8-g32+mlx-int4-g64"


def test_experts_are_matrices_of_their_own_and_routers_stay() -> None:
    found = formats_of({"quant_method": "fp8", "weight_block_size": [32, 32]}, **MOE)
    assert found["layers.{i}.ffn.experts.down.weight"] == "fp8-block"
    assert found["layers.{i}.ffn.router.weight"] == "bf16"
    in_tensors = bytes_of({"quant_method": "fp8", "weight_block_size": None}, **MOE)
    assert in_tensors - bytes_of(None, **MOE) == 2 * (
        -(2 * 128 * 128 + 2 * 64 * 128 + 4 * 3 * 128 * 64) + 4 * (4 + 4 * 3)
    )


def test_a_fused_matrix_has_one_scale() -> None:
    """Phi-3 stores queries, keys and values as one tensor, gate and up too."""
    phi = {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "pad_token_id": 0}
    settings = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]}
    matrices = 2 * (128 * 256 + 128 * 128 + 512 * 128 + 256 * 128)
    assert bytes_of(settings, **phi) == bytes_of(None, **phi) - matrices + 2 * 4 * 8


def test_published_checkpoints() -> None:
    """Llama 3.3 70B in dynamic FP8: every Linear a byte a weight, and a bf16 scale a row, as its headers have it."""
    config = LLAMA | {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    }
    linears = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}
    settings = {"quant_method": "compressed-tensors", "config_groups": {"group_0": linears}, "ignore": ["lm_head"]}
    spec = archcalc.load(config | {"quantization_config": settings})
    rows = 80 * (8192 + 2 * 1024 + 8192 + 2 * 28672 + 8192)
    assert archcalc.report(spec)["memory"]["weights_bytes"] == 72_656_371_712 + 2 * rows
    assert archcalc.report(spec, dtype="bf16")["memory"]["weights_bytes"] == 141_107_412_992


def test_an_unknown_method_is_said_and_the_count_is_unquantized() -> None:
    for settings in ({"quant_method": "aqlm"}, {"quant_method": "awq", "version": "gemv"}, {"bits": 4}):
        spec = archcalc.load(LLAMA | {"quantization_config": settings})
        assert archcalc.report(spec)["memory"]["weights_bytes"] == bytes_of(None)
        assert any("bytes without quantization" in note for note in map(str, spec.about.provenance.assumed))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"quant_method": "gptq", "bits": 5}, "quantization_config.bits"),
        ({"quant_method": "awq", "group_size": "all"}, "quantization_config.group_size"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "quantization_config.weight_block_size"),
        ({"quant_method": "fp8", "modules_to_not_convert": "lm_head"}, "quantization_config.modules_to_not_convert"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["(a+)+b"]}, "quantization_config.modules_to_not_convert"),
        ({"quant_method": "compressed-tensors", "ignore": ["re:("]}, "quantization_config.ignore"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": 3}}, "quantization_config.config_groups.g"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as caught:
        archcalc.load(LLAMA | {"quantization_config": settings})
    assert str(caught.value).startswith(f"{where}: ")


def test_a_shape_that_does_not_fit_names_its_tensor() -> None:
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 96}
    groups = {"config_groups": {"g": {"weights": weights}}}
    with pytest.raises(InputError, match=r"attn\.q\.weight: .* needs rows divisible by 96"):
        bytes_of({"quant_method": "compressed-tensors", "format": "pack-quantized"} | groups)


@pytest.mark.parametrize("pattern", ["(a|a)*b", "(.*a){8}", ".*a" * 7, "(?:x+x+)+y", "a" * 3000])
def test_a_pattern_that_may_take_too_long_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="at most 6 repetitions"):
        patterns.checked(pattern, "ignore")


def test_the_slowest_patterns_that_are_read_take_less_than_a_second() -> None:
    slow = ".*a.*a.*a.*a.*a.*z"
    started = time.monotonic()
    formats_of({"quant_method": "fp8", "modules_to_not_convert": [slow]}, num_hidden_layers=64)
    assert time.monotonic() - started < 20, "generous: the machine may be busy"


VALUES = st.none() | st.booleans() | st.integers(-2, 300) | st.text(max_size=6) | st.just({}) | st.just([128, 128])
KEYS = st.sampled_from(
    (
        "bits", "group_size", "sym", "desc_act", "modules_to_not_convert", "weight_block_size", "ignore", "quant_algo",
        "config_groups", "load_in_4bit", "load_in_8bit", "dynamic", "extra_config", "quant_config", "quantization",
        "quantized_layers", "exclude_modules", "weights", "quant_type", "version", "mode", "targets", "skip_modules",
    )
)  # fmt: skip
METHODS = st.sampled_from(
    ("gptq", "awq", "fp8", "compressed-tensors", "bitsandbytes", "hqq", "quanto", "torchao", "modelopt", "mlx", "mxfp4",
     "auto-round", "eetq", "fbgemm_fp8", "bitnet", "x", None)
)  # fmt: skip


@given(METHODS, st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=5))
def test_any_settings_are_read_or_refused_in_one_line(method: str | None, settings: dict[str, Any]) -> None:
    config = LLAMA | {"quantization_config": settings | {"quant_method": method}}
    assert "\n" not in refusal(config)


def refusal(config: dict[str, Any]) -> str:
    """The error of a config; empty if it is read."""
    try:
        spec = archcalc.load(config)
        stored_weights(spec, build(spec))
    except InputError as error:
        return str(error)
    return ""
