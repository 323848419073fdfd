"""OPT: learned positions with two rows more; the 350m has norms after each part and a narrower token table."""

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Given
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import renamed, same, table
from archcalc.hf.vocabulary import Narrow, activation, biases, dropout, flag, keys, layers, size

WIDTH = size("hidden_size", 768)
BIAS = flag("enable_bias", True)
AFFINE = flag("layer_norm_elementwise_affine", True)
BEFORE = flag("do_layer_norm_before", True)
NORM = {"kind": "layernorm", "weight": AFFINE, "bias": AFFINE, "eps": 1e-5}

NARROW = size("word_embed_proj_dim", WIDTH.read, null=WIDTH.read)
TIED = flag("tie_word_embeddings", True)


def read_width(config: Config) -> int | None:
    """The width that an untied head reads, where that is not the model's."""
    width: int = NARROW.read(config)
    return None if TIED.read(config) or width == WIDTH.read(config) else width


TEMPLATE = {
    "vocab_size": size("vocab_size", 50272),
    "n_ctx": size("max_position_embeddings", 2048),
    "d_model": WIDTH,
    "embedding": {
        "factor": Narrow(NARROW, WIDTH, {"bias": False, "widen": "before_positions"}),
    },
    "decoder": Stack(
        count=layers(12),
        kinds={
            "layer": {
                "norm": NORM,
                "placement": Cases(BEFORE, {True: "pre", False: "post"}),
                "attention": {"kind": "gqa", "n_heads": size("num_attention_heads", 12), **biases(BIAS)},
                "ffn": {
                    "kind": "plain",
                    "d_ff": size("ffn_dim", 3072),
                    "activation": activation("relu", "activation_function"),
                    "bias": BIAS,
                },
            }
        },
        around={
            "position": {"kind": "learned", "n_extra": 2},
            "final_norm": Cases(
                BEFORE, {True: Cases(flag("_remove_final_layer_norm", False), {False: NORM, True: None}), False: None}
            ),
        },
    ),
    "head": {"tied": TIED, "d_in": Given(read_width)},
    "dropout": {"attention": dropout("attention_dropout", 0.0), "residual": dropout("dropout", 0.1)},
}

TENSORS = table(
    renamed(
        {
            "embed.tokens": "embed_tokens",
            "embed.project": "project_in",
            "positions": "embed_positions",
            "final_norm": "final_layer_norm",
            "head.project": "project_out",
        },
        name="model.decoder.",
    ),
    renamed(
        {
            "attn.q": "self_attn.q_proj",
            "attn.k": "self_attn.k_proj",
            "attn.v": "self_attn.v_proj",
            "attn.out": "self_attn.out_proj",
            "attn_norm": "self_attn_layer_norm",
            "ffn.up": "fc1",
            "ffn.down": "fc2",
            "ffn_norm": "final_layer_norm",
        },
        "layers.{i}.",
        "model.decoder.layers.{i}.",
    ),
    same("head", "lm_head"),
)

FAMILIES = (
    Family(
        "opt",
        ("OPTForCausalLM",),
        TEMPLATE,
        TENSORS,
        harmless=keys("layerdrop activation_dropout init_std"),
        spelling=Spelling(
            renamed={r"^(?=decoder\.)": "model."}, copies={"lm_head.weight": "model.decoder.embed_tokens.weight"}
        ),
    ),
)
