"""Decoders whose attention is projected by experts: JetMoE."""

from archcalc.hf.families.moe_like import experts
from archcalc.hf.spellings import TIED
from archcalc.hf.templates.decoder import LAYER, decoder
from archcalc.hf.tensors import TensorEntry, fused_modules, modules
from archcalc.hf.vocabulary import LLAMA_NORMS, LLAMA_OUTSIDE, activation, keys, rmsnorm, size

N_EXPERTS, N_ACTIVE = size("num_local_experts", 8), size("num_experts_per_tok", 2)
ATTENTION, MLP = "model.layers.{i}.self_attention.", "model.layers.{i}.mlp."

JETMOE = decoder(
    "jetmoe",
    "JetMoeForCausalLM",
    width=2048,
    depth=12,
    n_ctx=4096,
    tie=True,
    # The norms of layers do not read rms_norm_eps.
    norm={"kind": "rmsnorm", "eps": 1e-6},
    stack_fields={"final_norm": rmsnorm(1e-6)},
    base_attention={
        "kind": "routed",
        "n_experts": N_EXPERTS,
        "n_active": N_ACTIVE,
        "n_kv_heads": size("num_key_value_heads", 16),
        "d_head": size("kv_channels", 128, aliases=("head_dim",)),
        "out_bias": True,
    },
    base_ffn=experts(
        N_EXPERTS,
        N_ACTIVE,
        size("intermediate_size", 5632),
        choose="logits",
        weigh="softmax",
        out_bias=True,
    )
    | {"activation": activation("silu", "activation_function")},
    # How many query heads there are follows from the experts.
    irrelevant=keys("num_attention_heads output_router_logits aux_loss_coef"),
    tensors=(
        LLAMA_OUTSIDE,
        LLAMA_NORMS,
        fused_modules(("layers.{i}.attn.k", "layers.{i}.attn.v"), f"{ATTENTION}kv_proj"),
        modules({"attn.router": "self_attention.experts.router.layer", "ffn.router": "mlp.router.layer"}, *LAYER),
        TensorEntry(f"{ATTENTION}experts.input_linear.weight", ("layers.{i}.attn.q.weight",)),
        TensorEntry(f"{ATTENTION}experts.output_linear.weight", ("layers.{i}.attn.out.weight",)),
        TensorEntry(f"{ATTENTION}experts.bias", ("layers.{i}.attn.out_bias",)),
        TensorEntry(
            f"{MLP}input_linear.weight",
            ("layers.{i}.ffn.experts.gate.weight", "layers.{i}.ffn.experts.up.weight"),
            axis=1,
        ),
        TensorEntry(f"{MLP}output_linear.weight", ("layers.{i}.ffn.experts.down.weight",)),
        TensorEntry(f"{MLP}bias", ("layers.{i}.ffn.out_bias",)),
    ),
    spelling=TIED,
)

FAMILIES = (JETMOE,)
