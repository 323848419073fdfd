"""Whatever stands in a config: a spec, or one line that names the field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archcalc
from archcalc.errors import InputError
from archcalc.hf import family_of, from_config, to_config
from archcalc.spec import Spec
from archcalc.spec.document import decode
from tests.examples import examples
from tests.hf.hf_configs import CONFIGS, LLAMA, LLAMA3

BASE = {"model_type": "llama"} | LLAMA


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_type": "lama"}, "model_type: found 'lama' (did you mean 'llama'?); expected a model type that "),
        ({"model_type": None}, "model_type: found None; expected a model type that "),
        ({"model_type": ["llama"]}, "model_type: found a list; expected a model type that "),
        ({"hidden_size": "abc"}, "hidden_size: found 'abc'; expected an integer from 1 to 4294967296"),
        ({"hidden_size": True}, "hidden_size: found True; expected an integer"),
        ({"hidden_size": None}, "hidden_size: found None; expected an integer"),
        ({"hidden_size": -3}, "hidden_size: found -3; expected an integer"),
        ({"hidden_size": 4096.0}, "hidden_size: found 4096.0; expected an integer"),
        ({"hidden_size": 10**400}, "hidden_size: found an integer of 1329 bits; expected an integer"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers: found 1000000; expected an integer from 1 to 100000"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps: found nan; expected a number > 0"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps: found an integer of 1329 bits; expected a number > 0"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: found 'yes'; expected true or false"),
        ({"attention_dropout": 1.0}, "attention_dropout: found 1.0; expected a number ≥ 0 and < 1"),
        ({"hidden_act": "sillu"}, "hidden_act: found 'sillu' (did you mean 'silu'?); expected silu, gelu, "),
        ({"hidden_act": ["silu"]}, "hidden_act: found a list; expected text"),
        ({"rope_scaling": 3}, "rope_scaling: found 3; expected a mapping"),
        (
            {"rope_scaling": {"type": "yarm"}},
            "rope_scaling.type: found 'yarm' (did you mean 'yarn'?); expected default,",
        ),
        (
            {"rope_scaling": {"type": "longrope"}},
            "rope_scaling.short_factor: found None; expected a list of numbers > 0",
        ),
        ({"rope_scaling": {"type": "ntk"}}, "rope_scaling.type: found 'ntk'; expected default, "),
        ({"rope_scaling": {"rope_type": []}}, "rope_scaling.rope_type: found a list; expected default, "),
        ({"rope_scaling": LLAMA3 | {"factor": "8"}}, "rope_scaling.factor: found '8'; expected a number > 0"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor: found None; expected a number > 0"),
        (
            {"partial_rotary_factor": 0.5, "rope_scaling": LLAMA3},
            "partial_rotary_factor: found 0.5; expected 1.0, which rotates the whole head",
        ),
        ({"architectures": ["BertModel"]}, "architectures: found 'BertModel'; expected LlamaForCausalLM, LlamaFor"),
        ({"architectures": {}}, "architectures: found a mapping; expected the name of one class"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder: found True; expected false"),
        ({"add_cross_attention": True}, "add_cross_attention: found True; expected false or null"),
        ({"num_key_value_heads": 3}, "decoder.runs[0].pattern[0].attention.n_kv_heads: 3 does not divide n_heads 4"),
        (
            {"model_type": "gpt2", "n_embd": 8, "hidden_size": 9},
            "hidden_size: 9, but n_embd is 8; expected one value under both names",
        ),
        (
            {"model_type": "gemma2", "layer_types": ["full_attention"]},
            "layer_types: found '1 words'; expected 4, one for each layer",
        ),
        (
            {"model_type": "gemma2", "layer_types": ["full_attention", 3]},
            "layer_types: found a list; expected a list of words",
        ),
        (
            {"model_type": "gemma2", "layer_types": ["full_attention"] * 3 + ["mamba"]},
            "layer_types[3]: found 'mamba'; expected sliding_attention, full_attention",
        ),
        ({"model_type": "gpt_oss", "swiglu_limit": 0.0}, "swiglu_limit: found 0.0; expected a number > 0"),
        ({"model_type": "marian", "decoder_vocab_size": 5}, "decoder_vocab_size: found 5; expected 96 or null"),
        (
            {"model_type": "deberta-v2", "pos_att_type": ["c2p"]},
            "pos_att_type: found a list; expected null, without relative_attention",
        ),
        (
            {"model_type": "deberta", "relative_attention": True, "pos_att_type": "c2p|p2p"},
            "pos_att_type: found 'c2p|p2p'; expected c2p and p2c, each once",
        ),
        (
            {"model_type": "deberta-v2", "conv_kernel_size": 4},
            "conv_kernel_size: found 4; expected 0, or an odd number",
        ),
        (
            {"model_type": "xmod", "default_language": "de_DE"},
            "default_language: found 'de_DE'; expected en_XX",
        ),
        ({"model_type": "nystromformer", "conv_kernel_size": 4}, "conv_kernel_size: found 4; expected an odd number"),
        ({"model_type": "nystromformer", "inv_coeff_init_option": True}, "inv_coeff_init_option: found True; expected"),
        ({"model_type": "yoso", "conv_window": 2}, "conv_window: found 2; expected an odd number"),
        ({"model_type": "convbert", "num_groups": 5}, "num_groups: found 5; expected a divisor of hidden_size, 768"),
        (
            {"model_type": "convbert", "num_attention_heads": 10},
            "hidden_size: found 768; expected a multiple of 10, twice the heads that attend",
        ),
        (
            {"model_type": "mobilebert", "embedding_size": 512},
            "embedding_size: found 512; expected less than",
        ),
        ({"model_type": "mobilebert", "true_hidden_size": 64}, "true_hidden_size: found 64; expected 128"),
        (
            {"model_type": "mobilebert", "key_query_shared_bottleneck": False},
            "key_query_shared_bottleneck: found False; expected true",
        ),
        (
            {"model_type": "cpmant", "prompt_types": 2},
            "prompt_types: found 2; expected an integer from 3 to",
        ),
        ({"model_type": "cpmant", "segment_types": 2}, "segment_types: found 2; expected an integer from 3"),
        ({"model_type": "cpmant", "prompt_length": 0}, "prompt_length: found 0; expected an integer from 1"),
        ({"model_type": "xlnet", "attn_type": "uni"}, "attn_type: found 'uni'; expected bi"),
        ({"model_type": "xlnet", "d_head": 6}, "d_head: found 6; expected null or 64"),
        ({"model_type": "xlnet", "clamp_len": 0}, "clamp_len: found 0; expected -1 for no bound, or a length"),
        ({"model_type": "squeezebert", "q_groups": 5}, "q_groups: found 5; expected a divisor of hidden_size, 768"),
        ({"model_type": "squeezebert", "embedding_size": 5}, "embedding_size: found 5; expected 768"),
        ({"model_type": "xmod", "languages": ["a", "a"]}, "languages: found"),
        ({"model_type": "deberta", "embedding_size": 5}, "embedding_size: found 5; expected null or 768"),
        (
            {"model_type": "gemma4_unified_text", "num_kv_shared_layers": 4},
            "num_kv_shared_layers: found 4; expected fewer, so that layers of each type compute keys",
        ),
        (
            {"model_type": "gemma4_unified_text", "per_layer_config": {"0": {"hidden_size": 3}}},
            "per_layer_config: found a mapping; expected head_dim and num_key_value_heads, alike in layers of one type",
        ),
    ],
    ids=str,
)
def test_the_line_names_the_field(change: dict, line: str) -> None:
    # Another model type has other keys: only those that all know are kept beside it.
    kept = {"vocab_size": 96, "num_hidden_layers": 4} if "model_type" in change else BASE
    if change.get("model_type") in ("gpt2", "marian"):
        kept = {"vocab_size": 96}
    with pytest.raises(InputError) as caught:
        decode(from_config(kept | change))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        (
            "kimi_linear:published words",
            {"linear_attn_config": {"full_attn_layers": [1], "kda_layers": [1, 2, 3, 4]}},
            "linear_attn_config.kda_layers: found a list; expected layer 1 in it or in full_attn_layers",
        ),
        (
            "deepseek_v4:older words",
            {"compress_ratios": [0, 8, 0, 0]},
            "compress_ratios[1]: found 8; expected 0, 4, 128",
        ),
        (
            "deepseek_v4:older words",
            {"compress_ratios": [0]},
            "compress_ratios: found '1 items'; expected 4, one for each",
        ),
        (
            "deepseek_v4:all kinds",
            {"layer_types": ["full_attention"] * 4},
            "layer_types[0]: found 'full_attention'; expected sliding_attention, compressed_sparse_attention, heavily_",
        ),
        (
            "deepseek_v4:all kinds",
            {"scoring_func": "softmax"},
            "scoring_func: found 'softmax'; expected sqrtsoftplus, sigmoid",
        ),
        ("hy_v4:mixed", {"swiglu_limit": 0.0}, "swiglu_limit: found 0.0; expected a number > 0"),
        ("hy_v4:mixed", {"hc_mult": 0}, "hc_mult: found 0; expected an integer from 1 to"),
        (
            "hy_v4:mixed",
            {"indexer_types": ["shared"] * 4},
            "indexer_types[0]: found 'shared'; expected full in the first",
        ),
        (
            "recurrent_gemma:mixed",
            {"lru_width": 30},
            "lru_width: found 30; expected a multiple of num_attention_heads, 4",
        ),
        (
            "recurrent_gemma:mixed",
            {"block_types": ["mlp"]},
            "block_types: found 'mlp'; expected a list of recurrent and",
        ),
        (
            "dots3_note_text:overrides",
            {"per_layer_config": {"1": {"kv_lora_rank": 5}}},
            "per_layer_config: found a mapping; expected num_attention_heads, q_lora_rank, kv_lora_rank, qk_nope",
        ),
        (
            "dots3_note_text:overrides",
            {"rope_parameters": {"rope_theta": 5.0}},
            "rope_parameters: found a mapping; expected a mapping with indexed_attention, full_attention, slid",
        ),
        (
            "ultrabert:default switches",
            {"attention_windows": [64], "num_hidden_layers": 2},
            "attention_windows: found '1 layers'; expected one for each layer",
        ),
        (
            "dots3_note_text:older words",
            {"moe_layer_freq": [0, 1]},
            "moe_layer_freq: found '2 numbers'; expected one for each layer",
        ),
        ("axk2:mixed", {"gated_norm_rank": 0}, "gated_norm_rank: found 0; expected an integer from 1"),
        ("axk2:mixed", {"q_lora_rank": None}, "q_lora_rank: found None; expected an integer from 1"),
        ("inkling_text:late", {"n_shared_experts": 0}, "n_shared_experts: found 0; expected an integer from 1"),
        (
            "inkling_text:late",
            {"layer_types": ["hybrid"] * 3},
            "layer_types: found '3 words'; expected 4, one for each layer",
        ),
        (
            "inkling2_text:all kinds",
            {"n_layers_per_attn_res_block": 0},
            "n_layers_per_attn_res_block: found 0; expected",
        ),
        ("inkling2_text:all kinds", {"scoring_func": "tanh"}, "scoring_func: found 'tanh'; expected"),
        ("inkling2_text:all kinds", {"qk_l2_clip_threshold": 0}, "qk_l2_clip_threshold: found 0; expected"),
        ("inkling2_text:all kinds", {"unpadded_vocab_size": 0}, "unpadded_vocab_size: found 0; expected"),
        ("inkling2_text:all kinds", {"sliding_window_size": None}, "sliding_window_size: found None; expected"),
        ("doge:plain", {"keep_window_size": 0}, "keep_window_size: found 0; expected an integer from 1"),
        ("doge:experts", {"num_experts": 0}, "num_experts: found 0; expected an integer from 1"),
        (
            "diffllama:plain",
            {"num_key_value_heads": 1},
            "n_kv_heads: 1 heads of keys and values are not pairs; expected an",
        ),
        ("diffllama:plain", {"attention_dropout": 0.1}, "attention_dropout: found 0.1; expected 0.0 or null"),
        ("jetmoe:plain", {"num_experts_per_tok": 6}, "attention.n_active: 6 of 5 experts; expected 1 to 5"),
        (
            "zaya:default switches",
            {"num_experts_per_tok": 2},
            "num_experts_per_tok: found 2; expected 1",
        ),
        (
            "zaya:default switches",
            {"layer_types": ["hybrid", "full_attention"] * 2},
            "layer_types[1]: found 'full_attention'; expected hybrid, hybrid_sliding",
        ),
        ("zaya:sliding", {"sliding_window": None}, "sliding_window: found None; expected an integer from 1"),
        (
            "zaya:sliding",
            {"num_attention_heads": 5, "num_key_value_heads": 2},
            "n_kv_heads: 2 does not divide n_heads 5",
        ),
        (
            "zaya:sliding",
            {"rope_parameters": {"rope_theta": 5.0}},
            "rope_parameters: found a mapping; expected a mapping with hybrid_sliding, or null",
        ),
        (
            "zaya:default switches",
            {"rope_parameters": {"hybrid": {"rope_type": "default"}}},
            "rope_parameters.hybrid.rope_theta: found None; expected a number > 0",
        ),
        ("xlstm:plain", {"embedding_dim": 64}, "embedding_dim"),
        (
            "xlstm:plain",
            {"num_heads": 5},
            "qk_dim_factor: found 0.5; expected a share of hidden_size that num_heads, 5, d",
        ),
        ("xlstm:plain", {"weight_mode": "fused"}, "weight_mode: found 'fused'; expected single"),
        ("rwkv:rescaled", {"rescale_every": 1.5}, "rescale_every: found 1.5; expected an integer"),
        ("bailing_hybrid:bounded", {"kda_lower_bound": 1.0}, "kda_lower_bound: found 1.0; expected a number < 0"),
        ("mamba2:plain", {"num_heads": 5}, "num_heads: found 5; expected a divisor of expand · hidden_size, 64"),
        ("mamba2:plain", {"head_dim": 8}, "head_dim: found 8; expected expand · hidden_size / num_heads, 16"),
        ("mamba2:plain", {"time_step_limit": [0.1]}, "time_step_limit: found a list; expected a list of two numbers"),
        ("mamba2:plain", {"n_groups": 3}, "n_state_groups: 3 groups; expected a divisor of n_heads = 4"),
        (
            "falcon_h1:plain",
            {"mamba_d_head": 8},
            "mamba_d_head: found 8; expected mamba_d_ssm / mamba_n_heads, 6",
        ),
        ("falcon_h1:plain", {"ssm_multipliers": [1.0]}, "ssm_multipliers: found '1 numbers'; expected 5"),
        ("bamba:plain", {"attn_layer_indices": [3]}, "attn_layer_indices: found a list; expected indices below 3, the"),
        (
            "nemotron_h:plain",
            {"hybrid_override_pattern": "MX"},
            "hybrid_override_pattern: found 'MX'; expected one of M * E - for each of 2 layers",
        ),
        (
            "nemotron_h:plain",
            {"layers_block_type": ["moe"], "layer_types": ["mlp"]},
            "layer_types: a list, but layers_block_type is a list; expected one value under both names",
        ),
    ],
)
def test_hybrids_name_what_contradicts(name: str, change: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(from_config(CONFIGS[name] | change))
    assert line in str(caught.value)


@pytest.mark.parametrize("limit", [float("inf"), "inf", "Infinity", {"__float__": "Infinity"}])
def test_no_limit_of_steps_has_many_spellings(limit: Any) -> None:
    plain = CONFIGS["mamba2:plain"]
    assert decode(from_config(plain | {"time_step_limit": [0.0, limit]})) == decode(from_config(plain))


@pytest.mark.parametrize(
    "noise",
    [
        {"torch_dtype": "auto", "transformers_version": "4.40", "_name_or_path": "x/y", "use_cache": True},
        {"bos_token_id": [1, 2], "id2label": {"0": "a"}, "quantization_config": None, "auto_map": {}},
        {"transformers.js_config": {}, "pretraining_tp": 2, "output_past": True},
    ],
)
def test_noise_changes_nothing(noise: dict) -> None:
    assert decode(from_config(BASE | noise)) == decode(
        from_config(BASE | {"_name_or_path": noise.get("_name_or_path")})
    )


def test_a_whole_number_may_stand_for_a_fixed_one_but_true_for_none() -> None:
    from_config({"model_type": "gpt_oss", "swiglu_limit": 7})
    with pytest.raises(InputError, match="moe_layer_freq: found True; expected 1"):
        from_config({"model_type": "deepseek_v3", "moe_layer_freq": True})


def test_reading_leaves_the_config_as_it_was() -> None:
    for config in CONFIGS.values():
        before = copy.deepcopy(config)
        decode(from_config(config))
        assert config == before


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 300)
    | st.sampled_from([0, -1, 2**32, 2**63, 10**400, -(10**400), 0.0, -0.0, 1e-300, 1e300, float("inf"), float("nan")])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["silu", "gelu_new", "full_attention", "yarn", "linear", "default"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SMALL_CONFIGS = {name: config for name, config in CONFIGS.items() if not name.endswith("default")}


def keys_of(config: dict[str, Any]) -> list[str]:
    from archcalc.hf import family_of

    return sorted(family_of(config["model_type"]).keys - {"model_type"})


def outcome(attempt: Callable[[], Any]) -> Any:
    """What comes of it, or the line it is refused with."""
    try:
        return attempt()
    except InputError as error:
        line = str(error)
    assert "\n" not in line
    return line


@examples(1500)
@given(st.data())
def test_any_value_is_read_or_refused(data: st.DataObject) -> None:
    config = copy.deepcopy(SMALL_CONFIGS[data.draw(st.sampled_from(sorted(SMALL_CONFIGS)))])
    for key in data.draw(st.lists(st.sampled_from(keys_of(config)), min_size=1, max_size=3)):
        config[key] = data.draw(VALUES)
    for holder in ("rope_scaling", "rope_parameters"):
        if isinstance(config.get(holder), dict) and data.draw(st.booleans()):
            config[holder] |= data.draw(
                st.dictionaries(st.sampled_from(["type", "rope_type", "factor", "rope_theta", "mscale"]), VALUES)
            )
    spec = outcome(lambda: decode(from_config(config)))
    if isinstance(spec, Spec):
        outcome(lambda: to_config(spec))


def test_slices_that_lose_a_bias_are_counted_and_not_run() -> None:
    config = CONFIGS["bloom:small"] | {"slow_but_exact": True}
    family = family_of("bloom")
    family.check_runnable(config)
    assert from_config(config | {"pretraining_tp": 2}) == from_config(CONFIGS["bloom:small"])
    with pytest.raises(InputError, match="slow_but_exact: found True; expected false"):
        family.check_runnable(config | {"pretraining_tp": 2})


def test_approximate_attention_is_counted_and_not_run() -> None:
    config = CONFIGS["mra:small"]
    family_of("mra").check_runnable(config)
    with pytest.raises(InputError, match="block_per_row: found 1; expected 2"):
        family_of("mra").check_runnable(config | {"block_per_row": 1})


def test_a_word_may_be_null_among_the_allowed() -> None:
    config = CONFIGS["granitemoehybrid:plain"] | {"position_embedding_type": "rop"}
    with pytest.raises(InputError, match=r"found 'rop' \(did you mean 'rope'\?\); expected nope, null, rope"):
        from_config(config)


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({"model_type": "gpt2", "n_head": 7}, "d_model = n_embd, n_heads = n_head"),
        ({"model_type": "bart", "encoder_attention_heads": 7}, "n_heads = encoder_attention_heads"),
        ({"model_type": "mixtral", "num_experts_per_tok": 99}, "n_active = num_experts_per_tok"),
    ],
    ids=str,
)
def test_an_error_about_the_spec_of_a_config_names_its_keys(config: dict, keys: str) -> None:
    with pytest.raises(InputError, match=rf"\. Keys of the config: {keys}$"):
        archcalc.load(config)
