"""Tiny random models of transformers as GGUF files: keys and tensors as llama.cpp's converter (conversion/) has them.

The names are those of the `gguf` library; how tensors are changed is written here again, for tests alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.constants import MODEL_ARCH_NAMES
from gguf.quants import quantize
from torch import Tensor

from tests.checkpoint.random_models import random_model
from tests.hf.llama3 import factors_of

Change = Callable[[str, Tensor, Any], Mapping[str, Tensor]]
Keys = Callable[[Any], Mapping[str, Any]]
# A key of the file, and the attributes of a config that may have its value.
COMMON = {
    "block_count": ("num_layers", "num_hidden_layers", "n_layer", "n_layers"),
    "context_length": ("max_position_embeddings",),
    "embedding_length": ("hidden_size", "d_model"),
    "feed_forward_length": ("intermediate_size",),
    "attention.head_count": ("num_attention_heads", "n_head", "n_heads"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "expert_count": ("num_local_experts", "num_experts"),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_group_count": ("n_group",),
    "expert_group_used_count": ("topk_group",),
}


def same(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {name: weight}


class Architecture(msgspec.Struct, frozen=True):
    """A model of transformers in the architecture `name`: how its tensors are changed, and the keys that it adds.

    What a change names with a `#` is a part of a tensor.

    A key of None is left out. `case` tells two of an architecture apart. `unequal`: fields of the spec that the file
    states otherwise than the config. `not_in_llama_cpp`: why llama.cpp gives other logits. `class_name`: the model's
    class, if it is not the family's first. `besides`: tensors that files have besides the model's.
    `model_keys`: keys of the file, whole, that hold weights of the model.
    """

    model: str
    name: str
    config: dict[str, Any] = {}
    change: Change = same
    keys: Keys = lambda config: {}
    case: str = ""
    unequal: tuple[str, ...] = ()
    not_in_llama_cpp: str = ""
    class_name: str | None = None
    besides: Callable[[Any], Mapping[str, Tensor]] = lambda config: {}
    model_keys: Callable[[Any], Mapping[str, Any]] = lambda model: {}

    @property
    def id(self) -> str:
        return f"{self.name}-{self.case}" if self.case else self.name


def turned(weight: Tensor, heads: int) -> Tensor:
    """llama.cpp's permute: the halves of each head row by row in turn."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def with_turned_rows(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    part = name.split(".")[-2]
    return {name: turned(weight, heads[part]) if part in heads else weight}


def with_one_added(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {name: weight + 1 if "norm" in name else weight}


def with_split_experts(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    if name.endswith("experts.gate_up_proj"):
        gate, up = weight.chunk(2, 1)
        base = name.replace("feed_forward.experts", "mlp.experts").removesuffix("gate_up_proj")
        return {f"{base}gate_proj.weight": gate, f"{base}up_proj.weight": up}
    if name.endswith(("experts.down_proj", "experts.up_proj")):
        return {f"{name.replace('feed_forward.experts', 'mlp.experts')}.weight": weight}
    return {name: weight[0] if name.endswith("shared_expert_gate.weight") else weight}


def with_named_correction(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {re.sub(r"(mlp\.)?(gate\.)?e_score_correction_bias$", r"\1\2e_score_correction.bias", name): weight}


def with_one_added_to_norms(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {name: weight + 1 if name.endswith("norm.weight") else weight}


def of_neox(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Queries, then keys, then values, which the class has by head."""
    if "query_key_value" not in name:
        return {name: weight}
    d_head = config.hidden_size // config.num_attention_heads
    n_kv_heads = config.num_attention_heads
    if config.model_type == "falcon":
        n_kv_heads = config.num_kv_heads if config.new_decoder_architecture else 1 if config.multi_query else n_kv_heads
    by_group = weight.unflatten(0, (n_kv_heads, -1, d_head))
    q, k, v = by_group.split([by_group.shape[1] - 2, 1, 1], 1)
    return {name: torch.cat([part.flatten(0, 2) for part in (q, k, v)])}


def of_bitnet(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Under older names."""
    return {name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm"): weight}


def of_bloom(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    name = name.removeprefix("transformer.")
    if "query_key_value" not in name:
        return {name: weight}
    by_head = weight.unflatten(0, (config.n_head, 3, -1))
    return {name: torch.cat([by_head[:, part].flatten(0, 1) for part in range(3)])}


def of_dbrx(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    if not name.endswith(("mlp.w1", "mlp.v1", "mlp.w2")):
        return {name: weight}
    experts = weight.unflatten(0, (config.ffn_config.moe_num_experts, -1))
    return {f"{name}.weight": experts.mT if name.endswith("w2") else experts}


def without_pooler(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {} if name.startswith("pooler.") else {name: weight}


def of_llama4(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Experts are [in, out] in transformers, gate before up."""
    base = f"{name.split('feed_forward.experts')[0]}mlp.experts."
    if name.endswith("experts.gate_up_proj"):
        gate, up = weight.mT.chunk(2, 1)
        return {f"{base}gate_proj.weight": gate, f"{base}up_proj.weight": up}
    return {f"{base}down_proj.weight": weight.mT} if name.endswith("experts.down_proj") else {name: weight}


def of_gemma4(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    if name.endswith("router.scale"):
        return {name.replace("router.scale", "router.proj") + ".scale": weight}
    if name.endswith("per_expert_scale"):
        return {name.replace("router.per_expert_scale", "experts.down_proj") + ".scale": weight}
    if name.endswith(("layer_scalar", "experts.gate_up_proj", "experts.down_proj")):
        return {f"{name}.weight": weight}
    return {name: weight}


def of_gemma3n(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Matrices between streams are stacked."""
    if found := re.fullmatch(r"model\.(altup_\w*projections)\.(\d)\.weight", name):
        return {f"model.{found[1]}.weight#{found[2]}": weight.unsqueeze(0)}
    return {f"{name}.weight" if name.endswith("_scale") else name: weight}


def of_apertus(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Numbers of activations are keys."""
    return {} if ".act_fn." in name else {name: weight}


def activations(model: Any) -> Mapping[str, Any]:
    """The numbers of each layer's activation."""
    found = [layer.mlp.act_fn for layer in model.model.layers]
    names = ("alpha_p", "alpha_n", "beta", "eps")
    return {f"xielu.{name}": [getattr(each, name).float().item() for each in found] for name in names}


def llama3_factors(config: Any) -> Mapping[str, Tensor]:
    """The divisors of each pair's frequency that Llama 3.1's scaling gives."""
    rope = config.rope_parameters
    return {"rope_freqs.weight": torch.tensor(factors_of(rope["factor"], rope["rope_theta"], config.head_dim))}


def with_named_sinks(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    return {f"{name}.weight" if name.endswith("sinks") else name: weight}


def of_kimi(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Convolutions are three, with an axis in front, and parts of the decay have no module of their own."""
    name = name.replace(".forget_gate.", ".")
    if name.endswith("conv1d.weight"):
        layer = name.removesuffix("conv1d.weight")
        parts = zip("qkv", weight.chunk(3), strict=True)
        return {f"{layer}{part}_conv1d.weight": rows.unsqueeze(0) for part, rows in parts}
    if name.endswith("A_log"):
        return {name: -weight.exp()}
    return {name.replace("dt_bias", "dt_proj.bias"): weight}


def untied(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """With a head of its own, as T5's files of version 1.1 have it."""
    return {name: weight} | ({"lm_head.weight": weight} if name == "shared.weight" else {})


def long_factors(config: Any) -> Mapping[str, Tensor]:
    """Factors of the frequency of each pair, for short and for long contexts."""
    rope = config.rope_parameters
    return {f"rope_factors_{length}.weight": torch.tensor(rope[f"{length}_factor"]) for length in ("short", "long")}


def quarter_of_pairs(config: Any) -> Mapping[str, Tensor]:
    """Gemma 4's factors: in full layers, a quarter of the pairs rotate."""
    n_pairs = next(iter(config.to_dict()["per_layer_config"].values()))["head_dim"] // 2
    return {"rope_freqs.weight": torch.tensor([1.0] * (n_pairs // 4) + [1e30] * (n_pairs - n_pairs // 4))}


def unused_keys(config: Any) -> Mapping[str, Tensor]:
    """Keys and values of Gemma 3n's last layers, which read those of earlier ones."""
    width = config.num_key_value_heads * config.head_dim
    shapes = {"attn_k": (width, config.hidden_size), "attn_v": (width, config.hidden_size), "attn_k_norm": (8,)}
    first, last = config.num_hidden_layers - config.num_kv_shared_layers, config.num_hidden_layers
    return {
        f"blk.{layer}.{name}.weight": torch.zeros(shape)
        for layer in range(first, last)
        for name, shape in shapes.items()
    }


def under_model(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """As a model with a head names its parts."""
    return {f"model.{name}": weight}


# What NomicBERT's and Jina's files named modules, before transformers had their classes.
OLDER_NAMES = {
    r"^layers\.": "encoder.layers.",
    r"self_attn\.(q|k|v)_proj\.(\w+)": lambda match: f"{{mixer}}.Wqkv.{match[2]}#{'qkv'.index(match[1])}",
    r"self_attn\.o_proj": "{mixer}.out_proj",
    "post_attention_layernorm": "norm1",
    "post_mlp_layernorm": "norm2",
    r"mlp\.up_proj": "mlp.fc11",
    r"mlp\.gate_proj": "mlp.fc12",
    r"mlp\.down_proj": "mlp.fc2",
}


def of_newer_encoder(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """NomicBERT's and Jina's: queries, keys and values are one tensor, under older names."""
    if name.startswith("pooler."):
        return {}
    for pattern, older in OLDER_NAMES.items():
        name = re.sub(pattern, older, name)  # type: ignore[call-overload]
    return {name.replace("{mixer}", "attn" if config.model_type == "nomic_bert" else "mixer"): weight}


def then(*changes: Change) -> Change:
    """All changes, one after the other."""

    def change(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
        found: Mapping[str, Tensor] = {name: weight}
        for each in changes:
            found = {part: one for key, whole in found.items() for part, one in each(key, whole, config).items()}
        return found

    return change


def of_mamba_conv(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Convolutions are matrices."""
    name = name.replace(".expert_bias", ".expert_bias.bias")
    return {name: weight.squeeze(1) if "conv.conv" in name and weight.dim() == 3 else weight}


def of_mamba(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    if name.endswith("A_log"):
        return {name: -weight.exp()}
    return {name: weight.squeeze(1) if name.endswith("conv1d.weight") else weight}


def of_nemotron_h(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Under the names of its first class."""
    name = name.replace("model.", "backbone.", 1) if name.startswith("model.") else name
    if name.endswith("e_score_correction_bias"):
        return {name.replace("correction_bias", "correction.bias"): weight}
    if ".experts." in name:
        return {name.replace("backbone.", "model.").replace("mixer", "mlp") + ".weight": weight}
    return of_mamba2(name, weight, config)


def of_mamba2(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    if name.endswith("dt_bias"):
        return {name.replace("dt_bias", "dt_proj.bias"): weight}
    if name.endswith((".A_log", ".D")):
        return {name: of_mamba(name, weight, config)[name].unsqueeze(-1)}
    if name.endswith(("mixer.norm.weight", "mamba.norm.weight")):
        n_groups = getattr(config, "n_groups", None) or config.mamba_n_groups
        return {name: weight.reshape(n_groups, -1)}
    return of_mamba(name, weight, config)


def of_gpt_oss(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Experts are [in, out] in transformers, gate and up in turn."""
    kind = "bias" if name.endswith("_bias") else "weight"
    name, layer = name.removesuffix("_bias"), name.split("mlp.experts")[0]
    weight = weight.swapaxes(1, 2) if kind == "weight" and "experts" in name else weight
    if name.endswith("gate_up_proj"):
        parts = {"gate": weight[:, ::2], "up": weight[:, 1::2]}
        return {f"{layer}mlp.experts.{part}_proj.{kind}": each for part, each in parts.items()}
    if name.endswith("experts.down_proj"):
        return {f"{name}.{kind}": weight}
    return {f"{name}.weight" if name.endswith("sinks") else name: weight}


def of_latent(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Keys' and values' rows of each head apart, the keys' transposed."""
    if name.endswith("e_score_correction_bias"):
        return {name.replace("correction_bias", "correction.bias"): weight}
    if not name.endswith("kv_b_proj.weight"):
        return {name: weight}
    by_head = weight.unflatten(0, (config.num_attention_heads, -1))
    keys, values = by_head.split([config.qk_nope_head_dim, config.v_head_dim], 1)
    return {name.replace("kv_b_proj", "k_b_proj"): keys.mT, name.replace("kv_b_proj", "v_b_proj"): values}


def of_granite_experts(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Two halves of each projection."""
    layer = name.split("block_sparse_moe")[0].split("shared_mlp")[0]
    if name.endswith("experts.gate_up_proj"):
        return dict(zip(_both(f"{layer}block_sparse_moe.experts"), weight.chunk(2, 1), strict=True))
    if name.endswith("experts.down_proj"):
        return {f"{layer}block_sparse_moe.output_linear.weight": weight}
    if name.endswith("router.weight"):
        return {f"{layer}block_sparse_moe.router.layer.weight": weight}
    has_experts = bool(config.num_local_experts)
    if name.endswith("shared_mlp.input_linear.weight"):
        base = f"{layer}mlp.shared_expert" if has_experts else f"{layer}mlp"
        return {f"{base}.{part}_proj.weight": half for part, half in zip(("gate", "up"), weight.chunk(2), strict=True)}
    if name.endswith("shared_mlp.output_linear.weight"):
        return {f"{layer}mlp.shared_expert.down_proj.weight" if has_experts else f"{layer}mlp.down_proj.weight": weight}
    return {name: weight}


def _both(base: str) -> tuple[str, str]:
    return f"{base.replace('block_sparse_moe', 'mlp')}.gate_proj.weight", (
        f"{base.replace('block_sparse_moe', 'mlp')}.up_proj.weight"
    )


def of_delta(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Qwen3-Next's mixers; norms are stored as the factor."""
    if name.endswith("dt_bias"):
        return {name.replace("dt_bias", "dt_proj.bias"): weight}
    if name.endswith("norm.weight") and not name.endswith("linear_attn.norm.weight"):
        return {name: weight + 1}
    if not name.endswith("in_proj_qkvz.weight"):
        return of_mamba(name, weight, config)
    ratio = config.linear_num_value_heads // config.linear_num_key_heads
    sizes = [config.linear_key_head_dim] * 2 + [ratio * config.linear_value_head_dim] * 2
    q, k, v, z = weight.unflatten(0, (config.linear_num_key_heads, -1)).split(sizes, 1)
    layer = name.removesuffix("in_proj_qkvz.weight")
    joined = torch.cat([part.flatten(0, 1) for part in (q, k, v)])
    return {f"{layer}in_proj_qkv.weight": joined, f"{layer}in_proj_z.weight": z.flatten(0, 1)}


def of_tiled_delta(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Qwen3.5's: value heads by their place beside a key head."""
    n_keys, n_values = config.linear_num_key_heads, config.linear_num_value_heads

    def tiled(values: Tensor, axis: int = 0) -> Tensor:
        by_head = values.unflatten(axis, (n_keys, n_values // n_keys, -1))
        return by_head.swapaxes(axis, axis + 1).flatten(axis, axis + 2)

    if "linear_attn" in name and not name.endswith("norm.weight"):
        first = 2 * n_keys * config.linear_key_head_dim if "in_proj_qkv" in name or "conv1d" in name else 0
        axis = 1 if "out_proj" in name else 0
        weight = torch.cat([weight[:first], tiled(weight[first:])]) if first else tiled(weight, axis)
    return of_delta(name, weight, config)


def of_falcon_h1(name: str, weight: Tensor, config: Any) -> Mapping[str, Tensor]:
    """Multipliers are part of the weights."""
    c, (gate, down) = config, config.mlp_multipliers
    factors = {
        "down_proj": down,
        "gate_proj": gate,
        "k_proj": c.key_multiplier * c.attention_in_multiplier,
        "q_proj": c.attention_in_multiplier,
        "v_proj": c.attention_in_multiplier,
        "o_proj": c.attention_out_multiplier,
        "out_proj": c.ssm_out_multiplier,
        "in_proj": c.ssm_in_multiplier,
        "lm_head": c.lm_head_multiplier,
        "embed_tokens": c.embedding_multiplier,
    }
    part = name.split(".")[-2]
    weight = weight * factors.get(part, 1.0)
    if part == "in_proj":
        states = c.mamba_n_groups * c.mamba_d_state
        sizes = [c.mamba_d_ssm, c.mamba_d_ssm, states, states, c.mamba_n_heads]
        slices = zip(weight.split(sizes), c.ssm_multipliers, strict=True)
        weight = torch.cat([rows * factor for rows, factor in slices])
    return of_mamba2(name, weight, config)


def kv_of(kinds: Sequence[str], n_kv_heads: int, full: Sequence[str] = ("full_attention", "attention")) -> list[int]:
    """Key heads by layer: 0 without attention."""
    return [n_kv_heads * (kind in full) for kind in kinds]


def common_keys(config: Any) -> dict[str, Any]:
    """Keys of all architectures, from a config."""
    values = config.to_dict()

    def value(name: str) -> Any:
        return values[name] if name in values else getattr(config, name, None)

    found = {key: next(filter(None, map(value, names)), None) for key, names in COMMON.items()}
    rope = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    found["rope.freq_base"] = rope.get("rope_theta")
    return found


def write(path: Path, model: Any, arch: Architecture, kinds: Mapping[str, GGMLQuantizationType] = {}) -> None:
    """Write a model to a file."""
    keys = common_keys(model.config) | dict(arch.keys(model.config))
    by_name = {name: arch_id for arch_id, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(by_name[arch.name], keys["block_count"])
    buffers = {name: value for name, value in model.named_buffers() if name in model.state_dict()}
    parts: dict[str, list[Tensor]] = {}
    for name, weight in {**dict(model.named_parameters()), **buffers}.items():
        for part, changed in arch.change(name, weight.detach(), model.config).items():
            stored = names.get_name(part.partition("#")[0], try_suffixes=(".weight", ".bias", ".scale"))
            assert stored, part
            parts.setdefault(stored, []).append(changed)
    tensors = {name: torch.cat(each) if len(each) > 1 else each[0] for name, each in parts.items()}
    tensors |= arch.besides(model.config)
    write_file(path, arch.name, keys, tensors, kinds, arch.model_keys(model))


def write_file(
    path: Path,
    name: str,
    keys: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    kinds: Mapping[str, GGMLQuantizationType] = {},
    more: Mapping[str, Any] = {},
) -> None:
    """Write keys and tensors of an architecture, with a tokenizer of bytes, so that llama.cpp loads the file.

    `kinds`: the types of quantized tensors. `more`: keys without the name of the architecture.
    """
    writer = GGUFWriter(path, name)
    for key, value in keys.items():
        if value is not None:
            _add(writer, f"{name}.{key}", value)
    for key, value in more.items():
        _add(writer, key, value)
    n_rows = len(tensors["token_embd.weight"])
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{index:02X}>" for index in range(n_rows - 3))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([0.0] * n_rows)
    writer.add_token_types([2, 3, 3] + [6] * (n_rows - 3))
    if "token_types.weight" in tensors:
        writer.add_token_type_count(len(tensors["token_types.weight"]))
    for stored, weight in tensors.items():
        data, kind = np.ascontiguousarray(weight.float().numpy()), kinds.get(stored)
        writer.add_tensor(stored, quantize(data, kind) if kind else data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        writer.add_array(key, [int(item) if isinstance(item, np.integer) else item for item in value])
    else:
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool}
        add[type(value)](key, value)


def with_layer_sizes() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Keys and tensors of a DeciLM: its layers differ in heads and in feed-forwards, and one has no attention."""
    heads, kv_heads, widths, d_model, d_head = [4, 2, 0, 6], [2, 1, 0, 6], [40, 16, 24, 56], 32, 8
    keys = {
        "block_count": 4,
        "context_length": 64,
        "embedding_length": d_model,
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "feed_forward_length": widths,
        "attention.key_length": d_head,
        "attention.value_length": d_head,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": d_head,
    }
    shapes = {"token_embd.weight": (96, d_model), "output_norm.weight": (d_model,), "output.weight": (96, d_model)}
    for layer, (n_heads, n_kv_heads, d_ff) in enumerate(zip(heads, kv_heads, widths, strict=True)):
        attention = {
            "attn_norm": (d_model,),
            "attn_q": (n_heads * d_head, d_model),
            "attn_k": (n_kv_heads * d_head, d_model),
            "attn_v": (n_kv_heads * d_head, d_model),
            "attn_output": (d_model, n_heads * d_head),
        }
        ffn = {
            "ffn_norm": (d_model,),
            "ffn_gate": (d_ff, d_model),
            "ffn_up": (d_ff, d_model),
            "ffn_down": (d_model, d_ff),
        }
        own = (attention if n_heads else {}) | ffn
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in own.items()}
    torch.manual_seed(2)
    return keys, {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def model_of(arch: Architecture) -> Any:
    """The random model of an architecture."""
    return random_model(arch.model, arch.class_name, **arch.config)
