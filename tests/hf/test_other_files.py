"""A file that is no config of a model gets a sentence that says what it is, and what to give instead."""

from __future__ import annotations

import pytest

import archcalc
from archcalc.errors import InputError
from archcalc.hf import model_types


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {"base_model_name_or_path": "microsoft/phi-1_5", "peft_type": "LORA", "r": 16},
            "is an adapter_config.json, which describes an adapter and not a model. Give 'microsoft/phi-1_5' instead",
        ),
        ({"peft_type": "LORA"}, "is an adapter_config.json, which describes an adapter and not a model. Give its base"),
        (
            {"dim": 4096, "n_layers": 32, "n_heads": 32, "vocab_size": -1},
            "is a params.json of the original weights. Give the config.json of the same model in Hugging Face form",
        ),
        ({"bits": 4, "group_size": 128}, "is a quantize_config.json, which says how weights are stored. Give the "),
        ({"version": "1.0", "model": {}, "added_tokens": []}, "is a tokenizer.json, which describes a tokenizer. "),
        ({"tokenizer_class": "LlamaTokenizer"}, "is a tokenizer_config.json, which describes a tokenizer. "),
        ({"eos_token_id": 2, "do_sample": True}, "is a generation_config.json, which says how text is generated. "),
        ({"weight_map": {}, "metadata": {}}, "is an index of weight files. Give the config.json beside it"),
        ({"_class_name": "UNet2DModel"}, "is a file of diffusers, which archcalc does not read. "),
        (
            {"hidden_size": 1024, "num_hidden_layers": 24, "type_vocab_size": 2, "hidden_dropout_prob": 0.1},
            'model_type: is missing. Add one, for example "model_type": "bert"',
        ),
        ({"n_embd": 64, "n_layer": 2}, 'model_type: is missing. Add one, for example "model_type": "gpt2"'),
        (
            {"hidden_size": 64, "architectures": ["MistralForCausalLM"]},
            'model_type: is missing. Add "model_type": "mistral", which has the class MistralForCausalLM',
        ),
        (
            {"hidden_size": 64, "architectures": "LLaMAForCausalLM"},
            'model_type: is missing. Add "model_type": "llama", which has the class LlamaForCausalLM',
        ),
        (
            {"model_type": "llava", "text_config": {"model_type": "reformer"}, "vision_config": {}},
            "model_type: 'llava' is a model of several parts (text_config, vision_config), whose language model ",
        ),
        (
            {"model_type": "llava"},
            "model_type: 'llava' is a model of transformers that is not read yet; `report` counts ",
        ),
        (
            {"model_type": "reformer"},
            "model_type: 'reformer' is a model of transformers that is not read yet; `report` counts ",
        ),
        ({"model_type": "qwen9"}, "model_type: found 'qwen9'; expected "),
        ({"model_type": "mistrall"}, "model_type: found 'mistrall' (did you mean 'mistral'?); expected "),
    ],
    ids=str,
)
def test_the_sentence(data: dict, line: str) -> None:
    with pytest.raises(InputError) as caught:
        archcalc.load(data)
    assert str(caught.value).startswith(line)
    assert len(str(caught.value)) < 300
    assert not any(f", {name}, " in str(caught.value) for name in model_types())


def test_a_spec_with_a_mistake_is_still_told_as_a_spec() -> None:
    with pytest.raises(InputError, match="unknown key 'hidden_size'"):
        archcalc.load({"hidden_size": 3, "n_ctx": 4})
    with pytest.raises(InputError, match="the required field 'name' is missing"):
        archcalc.load({"vocab_size": 3})


@pytest.mark.parametrize(
    ("model_type", "stated", "assumed"),
    [
        ("kimi_k2", ["DeepseekV3ForCausalLM"], "model_type deepseek_v3, whose class is DeepseekV3ForCausalLM"),
        ("baichuan", "LlamaForCausalLM", "model_type llama, whose class is LlamaForCausalLM"),
        ("internlm2", ["LLaMAForCausalLM"], "model_type llama, whose class is LlamaForCausalLM"),
        ("RefinedWeb", ["RWForCausalLM"], "model_type falcon, whose class is FalconForCausalLM"),
    ],
)
def test_a_model_type_of_other_code_is_read_by_its_class(model_type: str, stated: object, assumed: str) -> None:
    spec = archcalc.load({"model_type": model_type, "architectures": stated})
    own = archcalc.load({"model_type": assumed.split()[1].rstrip(",")})
    assert tuple(map(str, spec.about.provenance.assumed)) == (assumed,)
    assert archcalc.report(spec)["params"] == archcalc.report(own)["params"]


@pytest.mark.parametrize(
    "stated", ["LlamaForCausalLM", ["LlamaForCausalLM"], ["LLaMAForCausalLM"], [], None, "LLaMAForCausalLM"], ids=str
)
def test_a_class_may_stand_as_text_or_under_an_older_name(stated: object) -> None:
    spec = archcalc.load({"model_type": "llama", "architectures": stated})
    assert archcalc.report(spec)["params"]["total"] == 6738415616
