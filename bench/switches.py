"""Count the combinations of config switches that give the logits of transformers.

    python bench/switches.py [--n 1117] [--types llama,t5] [--seed 0] [--show]

Configs of twenty model types are drawn at random: a tiny model of transformers with random weights is saved, opened,
and compared. A config that transformers itself refuses, or that gives it no finite logits, is drawn again. `--show`
prints each config that is refused or wrong.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.activations import ACT2CLS

from archcalc.checkpoint import open_checkpoint
from archcalc.errors import InputError
from archcalc.hf import family_of

TOLERANCE = 1e-4
Draw = dict[str, Any]

# Those of transformers that learn nothing.
ACTIVATIONS = tuple(word for word in ACT2CLS if word not in ("prelu", "xielu"))
WORDS = ("sliding_attention", "full_attention")
FLAGS = (False, True)
VOCAB = {"vocab_size": 96}
SIZES = VOCAB | {"hidden_size": 32, "num_attention_heads": 4}

# What a key may hold. Each is left out half of the time, so that the class's default is drawn too.
OF_ALL = {"tie_word_embeddings": FLAGS, "initializer_range": (0.5,), "use_cache": FLAGS}
OF_LLAMA = OF_ALL | {
    "num_hidden_layers": (1, 2, 3, 4, 5),
    "num_key_value_heads": (None, 1, 2, 4),
    "hidden_size": (24, 32, 48),
    "num_attention_heads": (4, 8),
    "intermediate_size": (24, 40, 56),
    "hidden_act": ACTIVATIONS,
    "rms_norm_eps": (1e-6, 1e-5, 1e-2),
    "rope_theta": (500.0, 10000, 1e6),
    "attention_dropout": (0.0, 0.1),
}
HEADS = {"head_dim": (None, 6, 8, 12, 20)}
BIAS = {"attention_bias": FLAGS}
WINDOW = {"sliding_window": (None, 1, 4, 64)}
QWEN_WINDOW = WINDOW | {"use_sliding_window": FLAGS, "max_window_layers": (0, 1, 2, 28)}
EXPERTS = {"num_experts_per_tok": (1, 2, 3), "norm_topk_prob": FLAGS, "output_router_logits": (False,)}
OF_GPT = OF_ALL | {"num_hidden_layers": (1, 2, 3, 4), "layer_norm_epsilon": (1e-5, 1e-3, 1e-1)}
OF_BERT = OF_ALL | {
    "num_hidden_layers": (1, 2, 3, 4),
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": (1e-12, 1e-5, 1e-1),
    "type_vocab_size": (1, 2, 5),
    "hidden_size": (24, 32, 48),
    "num_attention_heads": (2, 4, 8),
    "position_embedding_type": ("absolute",),
    "max_position_embeddings": (40, 64),
    "pad_token_id": (None, 0, 3),
}
OF_T5 = OF_ALL | {
    "d_kv": (6, 8, 12),
    "num_heads": (2, 3, 4),
    "num_decoder_layers": (1, 2, 3),
    "relative_attention_num_buckets": (4, 8, 32),
    "relative_attention_max_distance": (9, 20, 128),
    "layer_norm_epsilon": (1e-6, 1e-2),
    "feed_forward_proj": tuple(f"{gate}{word}" for gate in ("", "gated-") for word in ACTIVATIONS),
    "dropout_rate": (0.0, 0.1),
}
SWITCHES: dict[str, dict[str, tuple[Any, ...]]] = {
    "gpt2": OF_ALL
    | {
        "n_layer": (1, 2, 4),
        "n_inner": (None, 24, 50),
        "n_embd": (24, 32),
        "n_head": (2, 8),
        "activation_function": ACTIVATIONS,
        "layer_norm_epsilon": (1e-5, 1e-1),
        "scale_attn_weights": FLAGS,
        "scale_attn_by_inverse_layer_idx": FLAGS,
        "reorder_and_upcast_attn": FLAGS,
        "resid_pdrop": (0.0, 0.2),
        "summary_type": ("cls_index",),
    },
    "llama": OF_LLAMA | HEADS | BIAS | {"mlp_bias": FLAGS, "pretraining_tp": (1, 2)},
    "mistral": OF_LLAMA | HEADS | WINDOW,
    "mixtral": OF_LLAMA
    | HEADS
    | WINDOW
    | {"num_local_experts": (4, 5), "num_experts_per_tok": (1, 2, 3), "router_jitter_noise": (0.0, 0.1)},
    "qwen2": OF_LLAMA | HEADS | QWEN_WINDOW,
    "qwen3": OF_LLAMA | HEADS | BIAS | QWEN_WINDOW,
    "qwen3_moe": OF_LLAMA
    | HEADS
    | BIAS
    | QWEN_WINDOW
    | EXPERTS
    | {"decoder_sparse_step": (1, 2, 3), "mlp_only_layers": ([], [0], [1, 2]), "moe_intermediate_size": (16, 24)},
    "gemma2": {key: values for key, values in OF_LLAMA.items() if key != "hidden_act"}
    | HEADS
    | BIAS
    | {
        "hidden_activation": ACTIVATIONS,
        "query_pre_attn_scalar": (7, 12, 144),
        "sliding_window": (1, 4, 64),
        "final_logit_softcapping": (None, 3.0, 30.0),
        "attn_logit_softcapping": (None, 2.0, 50.0),
        # True means nothing to the eager kernel, and something to others.
        "use_bidirectional_attention": (None, False),
    },
    "deepseek_v3": {key: values for key, values in OF_LLAMA.items() if key != "num_key_value_heads"}
    | BIAS
    | EXPERTS
    | {
        "n_shared_experts": (1, 2),
        "routed_scaling_factor": (1.0, 2.5),
        "q_lora_rank": (None, 20),
        "kv_lora_rank": (12, 28),
        "qk_nope_head_dim": (10, 16),
        "v_head_dim": (10, 14),
        "first_k_dense_replace": (0, 1, 9),
        "rope_interleave": FLAGS,
        "num_nextn_predict_layers": (0, 1),
    },
    "gpt_oss": OF_LLAMA
    | HEADS
    | BIAS
    | {
        "sliding_window": (1, 4, 64),
        "num_experts_per_tok": (1, 2, 3),
        "swiglu_limit": (0.5, 7.0),
        "swiglu_alpha": (1.0, 1.702),
    },
    "gpt_neox": OF_ALL
    | {
        "num_hidden_layers": (1, 2, 3),
        "hidden_act": ACTIVATIONS,
        "layer_norm_eps": (1e-5, 1e-1),
        "use_parallel_residual": FLAGS,
        "attention_bias": FLAGS,
        "rotary_emb_base": (500, 10000),
        "is_decoder": FLAGS,
    },
    "phi": {key: values for key, values in OF_LLAMA.items() if key != "rms_norm_eps"}
    | {"layer_norm_eps": (1e-5, 1e-1), "qk_layernorm": FLAGS, "head_dim": (8, 12, 20)},
    "opt": OF_ALL
    | {
        "num_hidden_layers": (1, 2, 3),
        "activation_function": ACTIVATIONS,
        "do_layer_norm_before": FLAGS,
        "_remove_final_layer_norm": FLAGS,
        "word_embed_proj_dim": (20, 32),
        "enable_bias": FLAGS,
        "layer_norm_elementwise_affine": FLAGS,
        "pad_token_id": (None, 1),
        "layerdrop": (0.0, 0.1),
    },
    "bloom": OF_ALL
    | {
        "n_layer": (1, 2, 3),
        "layer_norm_epsilon": (1e-5, 1e-1),
        "apply_residual_connection_post_layernorm": FLAGS,
        "pretraining_tp": (1, 2),
        "slow_but_exact": FLAGS,
        "hidden_dropout": (0.0, 0.1),
        "attention_softmax_in_fp32": FLAGS,
    },
    "falcon": OF_GPT
    | {
        "multi_query": FLAGS,
        "alibi": FLAGS,
        "bias": FLAGS,
        "new_decoder_architecture": FLAGS,
        "parallel_attn": FLAGS,
        "num_ln_in_parallel_attn": (None, 1, 2),
        "num_kv_heads": (1, 2, 4),
        "ffn_hidden_size": (50, 90),
        "activation": ACTIVATIONS,
        "rope_theta": (500.0, 10000),
    },
    "bert": OF_BERT | {"is_decoder": FLAGS, "classifier_dropout": (None, 0.1)},
    "albert": OF_BERT
    | {
        "embedding_size": (20, 32),
        "num_hidden_groups": (1, 2, 3),
        "inner_group_num": (1, 2),
        "num_hidden_layers": (3, 4, 5),
    },
    "t5": OF_T5 | {"scale_decoder_outputs": FLAGS},
    "mt5": OF_T5,
    "marian": OF_ALL
    | {
        "decoder_layers": (1, 2, 3),
        "activation_function": ACTIVATIONS,
        "scale_embedding": FLAGS,
        "share_encoder_decoder_embeddings": FLAGS,
        "decoder_ffn_dim": (24, 56),
        "decoder_attention_heads": (2, 8),
        "static_position_embeddings": (True,),
        "add_final_layer_norm": (False,),
        "normalize_before": (False,),
        "decoder_layerdrop": (0.0, 0.1),
    },
}  # fmt: skip
BASES: dict[str, Draw] = {
    "gpt2": VOCAB | {"n_positions": 48, "n_embd": 32, "n_head": 4, "n_layer": 2},
    "opt": SIZES | {"ffn_dim": 40, "max_position_embeddings": 64, "num_hidden_layers": 2},
    "bloom": VOCAB | {"hidden_size": 32, "n_head": 4},
    "falcon": SIZES | {"max_position_embeddings": 20, "num_hidden_layers": 2},
    "bert": SIZES | {"intermediate_size": 40, "num_hidden_layers": 2},
    "albert": SIZES | {"intermediate_size": 40, "num_hidden_layers": 4, "embedding_size": 16},
    "t5": VOCAB | {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    "mt5": VOCAB | {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    "marian": VOCAB
    | {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "pad_token_id": 0}
    | {"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 40, "max_position_embeddings": 64},
    "gpt_oss": SIZES | {"intermediate_size": 40, "max_position_embeddings": 20, "num_hidden_layers": 2}
    | {"num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "deepseek_v3": SIZES | {"intermediate_size": 40, "max_position_embeddings": 20, "num_hidden_layers": 2}
    | {"num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 24, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8}
    | {"qk_rope_head_dim": 8, "v_head_dim": 8},
    "qwen3_moe": SIZES | {"intermediate_size": 40, "max_position_embeddings": 20, "num_hidden_layers": 4}
    | {"num_key_value_heads": 2, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    | {"head_dim": 8},
    "gpt_neox": SIZES | {"intermediate_size": 40, "max_position_embeddings": 20, "num_hidden_layers": 2},
}  # fmt: skip
LLAMA = SIZES | {
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
}
# Rotates a part of each head, as which key says.
SHARES = {"gpt_neox": ("rotary_pct", 0.25), "phi": ("partial_rotary_factor", 0.5)}
LISTS_LAYERS = ("mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gpt_oss")
ROTARY = (*LISTS_LAYERS, "llama", "deepseek_v3", "falcon", *SHARES)
TYPES = tuple(SWITCHES)
# Tensors that are no weights: tables that the class computes.
FIXED = {"marian": ("embed_positions",)}


def config_of(model_type: str, random: Random) -> Draw:
    """Draw a config."""
    config = copy.deepcopy(BASES.get(model_type, LLAMA))
    for key, values in SWITCHES[model_type].items():
        if random.random() < 0.5:
            config[key] = copy.deepcopy(random.choice(values))
    if model_type in LISTS_LAYERS and random.random() < 0.3:
        n_layers = config.get("num_hidden_layers", 3)
        config["layer_types"] = [random.choice(WORDS) for _ in range(n_layers)]
    if model_type in ROTARY and random.random() < 0.6:
        config |= rope_of(model_type, config, random)
    return config


def rope_of(model_type: str, config: Draw, random: Random) -> Draw:
    """Draw a scaling, in the newer or in the older spelling, and the share of a head that rotates."""
    drawn: Draw = {}
    key, share = SHARES.get(model_type, ("partial_rotary_factor", 1.0))
    # A class that rotates the whole head ignores a share.
    if random.random() < (0.5 if model_type in SHARES else 0.1):
        share = random.choice((0.25, 0.5, 1.0))
        drawn[key] = share
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    width = config.get("qk_rope_head_dim", width)
    pairs = int(width * (share if model_type in SHARES else 1.0)) // 2
    scaling = SCALINGS[random.choice(list(SCALINGS))](random, pairs)
    if random.random() < 0.5:
        theta = {"rope_theta": config.pop("rope_theta", 10000.0)}
        return drawn | {"rope_parameters": scaling | theta}
    if random.random() < 0.3:
        scaling["type"] = scaling.pop("rope_type")
    return drawn | {"rope_scaling": scaling}


def _some(random: Random, **values: tuple[Any, ...]) -> Draw:
    return {key: random.choice(choices) for key, choices in values.items() if random.random() < 0.5}


def _factors(random: Random, pairs: int) -> list[float]:
    return [round(random.uniform(1.0, 9.0), 2) for _ in range(pairs)]


SCALINGS: dict[str, Callable[[Random, int], Draw]] = {
    "default": lambda random, pairs: {"rope_type": "default"},
    "linear": lambda random, pairs: {"rope_type": "linear", "factor": random.choice((1.0, 2.5, 8))},
    "dynamic": lambda random, pairs: {"rope_type": "dynamic", "factor": random.choice((1.0, 2.5, 8))}
    | _some(random, original_max_position_embeddings=(10,)),
    "llama3": lambda random, pairs: {"rope_type": "llama3", "factor": random.choice((2.0, 8.0))}
    | {"low_freq_factor": 1.0, "high_freq_factor": random.choice((2.0, 4.0)), "original_max_position_embeddings": 16},
    "yarn": lambda random, pairs: {"rope_type": "yarn", "factor": random.choice((2.0, 4.0))}
    | _some(
        random,
        original_max_position_embeddings=(10, 16),
        beta_fast=(8.0, 32),
        beta_slow=(1, 2.0),
        attention_factor=(0.7, 1.3),
        mscale=(0.5, 1.0),
        mscale_all_dim=(0.7, 1.0),
        truncate=FLAGS,
    ),
    "longrope": lambda random, pairs: {
        "rope_type": "longrope",
        "short_factor": _factors(random, pairs),
        "long_factor": _factors(random, pairs),
    }
    | _some(random, factor=(2.0, 4.0), attention_factor=(0.7, 1.3), original_max_position_embeddings=(10, 16)),
}  # fmt: skip


def theirs_of(model_type: str, config: Draw, seed: int) -> Any:
    """Return a model of transformers with random weights and buffers."""
    settings = transformers.AutoConfig.for_model(model_type, **copy.deepcopy(config))
    # Falcon's eager attention of transformers 5.23 adds ALiBi twice: in the mask, and beside it.
    settings._attn_implementation = "sdpa" if config.get("alibi") else "eager"
    settings._experts_implementation = "eager"
    torch.manual_seed(seed)
    name = family_of(model_type).form({"model_type": model_type} | config).classes[0]
    model = getattr(transformers, name)(settings).eval()
    for key, tensor in model.state_dict().items():
        if not any(word in key for word in FIXED.get(model_type, ())):
            tensor.normal_(std=0.3)
    return model


def tokens_of(seed: int, n_tokens: int) -> Tensor:
    """Return two rows of tokens, none of which pads."""
    return torch.randint(6, 96, (2, n_tokens), generator=torch.Generator().manual_seed(seed))


def logits_of(model: nn.Module, ids: Tensor, source: Tensor, is_theirs: bool) -> Tensor:
    """Return a model's logits; `source` is what an encoder before a decoder reads."""
    both = model.config.is_encoder_decoder if is_theirs else len(model.spec.stacks) > 1
    if not is_theirs:
        return model(source, ids) if both else model(ids)
    return model(input_ids=source, decoder_input_ids=ids).logits if both else model(input_ids=ids).logits


def outcome(theirs: Any, wanted: Tensor, ids: Tensor, source: Tensor, drawn: Draw) -> str:
    """Return what becomes of a model as transformers saves it and, if that is equal, of its config as it is drawn."""
    with tempfile.TemporaryDirectory(dir=Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as folder:
        theirs.save_pretrained(folder)
        saved = differs(folder, wanted, ids, source)
        (Path(folder) / "config.json").write_text(json.dumps(drawn))
        stated = differs(folder, wanted, ids, source)
    return saved if saved != "equal" else stated


def differs(folder: str, wanted: Tensor, ids: Tensor, source: Tensor) -> str:
    """Return 'equal', 'wrong …' or 'refused …' of a saved model."""
    try:
        ours = open_checkpoint(folder).load()
    except InputError as error:
        return "refused " + str(error).replace(folder, "…")
    found = logits_of(ours, ids, source, is_theirs=False)
    if found.shape != wanted.shape:
        return f"wrong: {list(found.shape)} for {list(wanted.shape)}"
    error = float((found - wanted).abs().max() / wanted.abs().max())
    return "equal" if error <= TOLERANCE else f"wrong: off by {error:.1e} of the scale"


def draws(model_type: str, n: int, seed: int) -> Iterator[tuple[Draw, str]]:
    """Yield configs that transformers runs, and what becomes of each."""
    random = Random(f"{model_type} {seed}")
    while n:
        drawn, number = config_of(model_type, random), random.randrange(2**31)
        n_tokens = random.choice((9, 30))
        ids, source = tokens_of(number, n_tokens), tokens_of(number + 1, 7)
        try:
            theirs = theirs_of(model_type, drawn, number)
            wanted = logits_of(theirs, ids, source, is_theirs=True)
        except Exception as error:
            yield drawn, f"transformers: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
            continue
        if not wanted.isfinite().all():
            yield drawn, "transformers: not finite"
            continue
        yield drawn, outcome(theirs, wanted, ids, source, {"model_type": model_type} | drawn)
        n -= 1


def message(refusal: str) -> str:
    """Return a refusal without its file and its numbers, by which refusals are grouped."""
    words = refusal.split(": ", 2)
    return ": ".join(words[1:]) if words[0].startswith("refused …") else refusal.removeprefix("refused ")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1117, help="how many combinations in all")
    parser.add_argument("--types", default=",".join(TYPES), help="the model types")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print each config that is refused or wrong")
    options = parser.parse_args()
    types = options.types.split(",")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    counts: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for index, model_type in enumerate(types):
        counts[model_type] = Counter()
        n = options.n // len(types) + (index < options.n % len(types))
        for config, result in draws(model_type, n, options.seed):
            kind = result.split(" ")[0].rstrip(":")
            counts[model_type][kind] += 1
            if kind != "equal":
                reasons[f"{kind} {model_type}: {message(result)}"] += 1
            if options.show and kind in ("refused", "wrong"):
                print(f"{model_type}: {result}\n    {json.dumps(config)}")
            if sys.stderr.isatty():
                print(f"\r{model_type} {counts[model_type].total()}/{n}  ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{'':12}{'equal':>9}{'refused':>9}{'wrong':>9}{'drawn again':>13}")
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:12}{count['equal']:9}{count['refused']:9}{count['wrong']:9}{count['transformers']:13}")
    for reason, count in reasons.most_common():
        print(f"{count:5}  {reason}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
