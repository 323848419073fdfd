"""Published models as documents, written from their papers and configs."""

from __future__ import annotations

from typing import Any

BIASES = {"q_bias": True, "k_bias": True, "v_bias": True, "out_bias": True}
LAYERNORM, RMSNORM = {"kind": "layernorm"}, {"kind": "rmsnorm"}


def model(vocab_size: int, n_ctx: int, d_model: int, **fields: Any) -> dict[str, Any]:
    return {"name": "published", "vocab_size": vocab_size, "n_ctx": n_ctx, "d_model": d_model, **fields}


def stack(n_layers: int, layer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"n_layers": n_layers, "runs": [{"pattern": [layer]}], **fields}


def gqa(n_heads: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "gqa", "n_heads": n_heads, **fields}


def plain(d_ff: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "plain", "d_ff": d_ff, "activation": "gelu", **fields}


GPT3 = model(
    50257, 2048, 12288,
    decoder=stack(
        96,
        {"norm": LAYERNORM, "attention": gqa(96, **BIASES), "ffn": plain(49152, bias=True)},
        position={"kind": "learned"},
        final_norm=LAYERNORM,
    ),
    head={"tied": True},
)  # fmt: skip

LATENT = {"kind": "mla", "n_heads": 128, "q_rank": 1536, "kv_rank": 512, "d_nope": 128, "d_rope": 64, "d_v": 128}
DEEPSEEK_MOE = {
    "kind": "moe", "n_experts": 256, "n_active": 8, "d_expert": 2048, "n_shared": 1, "choose": "sigmoid",
    "n_groups": 8, "n_active_groups": 4, "correction": "buffer",
}  # fmt: skip
DEEPSEEK = model(
    129280, 163840, 7168,
    decoder={
        "n_layers": 61,
        "runs": [
            {"count": 3, "pattern": [{"norm": RMSNORM, "attention": LATENT, "ffn": {"kind": "gated", "d_ff": 18432}}]},
            {"pattern": [{"norm": RMSNORM, "attention": LATENT, "ffn": DEEPSEEK_MOE}]},
        ],
        "final_norm": RMSNORM,
    },
)  # fmt: skip

GPT_OSS_MOE = {
    "kind": "moe", "n_experts": 32, "n_active": 4, "d_expert": 2880, "activation": "clamped_swish",
    "expert_bias": True, "router_bias": True, "choose": "logits", "weigh": "softmax",
}  # fmt: skip
GPT_OSS_ATTENTION = gqa(64, n_kv_heads=8, d_head=64, sinks=True, position={"kind": "rope"}, **BIASES)
GPT_OSS_20B = model(
    201088, 131072, 2880,
    decoder={
        "n_layers": 24,
        "runs": [
            {
                "pattern": [
                    {"norm": RMSNORM, "attention": GPT_OSS_ATTENTION | {"window": 128}, "ffn": GPT_OSS_MOE},
                    {"norm": RMSNORM, "attention": GPT_OSS_ATTENTION, "ffn": GPT_OSS_MOE},
                ]
            }
        ],
        "final_norm": RMSNORM,
    },
)  # fmt: skip

GEMMA2_27B = model(
    256000, 8192, 4608,
    decoder=stack(
        46,
        {
            "norm": RMSNORM | {"unit_offset": True},
            "placement": "sandwich",
            "attention": gqa(32, n_kv_heads=16, d_head=128, softcap=50.0, position={"kind": "rope"}),
            "ffn": {"kind": "gated", "d_ff": 36864, "activation": "gelu_tanh"},
        },
        final_norm=RMSNORM,
    ),
    head={"tied": True, "softcap": 30.0},
)  # fmt: skip

ALBERT_XXLARGE = model(
    30000, 512, 4096,
    embedding={"factor": {"d_embed": 128, "bias": True, "widen": "after_positions"}, "n_token_types": 2},
    encoder={
        "runs": [
            {
                "count": 12,
                "share_weights": True,
                "pattern": [
                    {
                        "norm": LAYERNORM,
                        "placement": "post",
                        "attention": gqa(64, **BIASES),
                        "ffn": plain(16384, bias=True),
                    }
                ],
            }
        ],
        "position": {"kind": "learned"},
        "embed_norm": LAYERNORM,
    },
    head={"tied": True, "bias": True, "transform": {"activation": "gelu_tanh", "norm": LAYERNORM}},
)  # fmt: skip

OPT_350M = model(
    50272, 2048, 1024,
    embedding={"factor": {"d_embed": 512}},
    decoder=stack(
        24,
        {
            "norm": LAYERNORM,
            "placement": "post",
            "attention": gqa(16, **BIASES),
            "ffn": {"kind": "plain", "d_ff": 4096, "activation": "relu", "bias": True},
        },
        position={"kind": "learned", "n_extra": 2},
    ),
    head={"tied": True},
)  # fmt: skip

T5_ATTENTION = gqa(8, d_head=64)
T5_LAYER = {
    "norm": RMSNORM,
    "attention": T5_ATTENTION | {"position": {"kind": "relative", "n_buckets": 32}},
    "ffn": {"kind": "plain", "d_ff": 2048, "activation": "relu"},
}
T5_SMALL = model(
    32128, 512, 512,
    encoder=stack(6, T5_LAYER, final_norm=RMSNORM),
    decoder=stack(6, T5_LAYER | {"cross": T5_ATTENTION}, final_norm=RMSNORM),
    head={"tied": True},
)  # fmt: skip

BERT_BASE = model(
    30522, 512, 768,
    embedding={"n_token_types": 2},
    encoder=stack(
        12,
        {"norm": LAYERNORM, "placement": "post", "attention": gqa(12, **BIASES), "ffn": plain(3072, bias=True)},
        position={"kind": "learned"},
        embed_norm=LAYERNORM,
    ),
    head={"tied": True, "bias": True, "transform": {"activation": "gelu", "norm": LAYERNORM}},
)  # fmt: skip

# One odd model for what no published one has: multi-token prediction over a stack whose last layer is a mixture.
DEEPSEEK_MTP = DEEPSEEK | {"decoder": DEEPSEEK["decoder"] | {"n_mtp": 1}}
