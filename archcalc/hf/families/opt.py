"""OPT, and BioGPT and XGLM after it: learned or computed positions that start two rows late, each projection apart."""

from archcalc.hf.config import Config
from archcalc.hf.family import Family
from archcalc.hf.heads import TEXT_LABELS, scores
from archcalc.hf.lens import Cases, ImpliedValue, Template
from archcalc.hf.spellings import Spelling
from archcalc.hf.templates.gpt_like import SizeKeys, gpt_layer, gpt_like, idle_cross, root_scaled
from archcalc.hf.tensors import TensorMap, module, modules, table
from archcalc.hf.vocabulary import EmbeddingFactor, activation, biases, dropout, flag, keys, layers, size, tied

# What these classes leave at torch's default.
NORM = {"kind": "layernorm", "eps": 1e-5}


WIDTH = size("hidden_size", 768)
D_EMBED = size("word_embed_proj_dim", WIDTH.read, null=WIDTH.read)


def narrow_width(config: Config) -> int | None:
    """Return the width to which OPT projects its last states, if that is not the model's."""
    narrow: int = D_EMBED.read(config)
    return None if narrow == WIDTH.read(config) else narrow


def no_head(config: Config) -> None:
    """Return the head of the bare model. Raises InputError if its states are projected, as no other bare model's."""
    if (narrow := narrow_width(config)) is not None:
        raise config.error("word_embed_proj_dim", narrow, f"{WIDTH.read(config)} for a model without a head")


def opt() -> Template:
    """Return OPT's template; the 350m has norms after each part and a narrower token table."""
    sizes = SizeKeys(
        size("vocab_size", 50272),
        size("max_position_embeddings", 2048),
        WIDTH,
        layers(12),
        size("num_attention_heads", 12),
    )
    bias, before = flag("enable_bias", True), flag("do_layer_norm_before", True)
    affine = flag("layer_norm_elementwise_affine", True)
    norm = NORM | {"weight": affine, "bias": affine}
    layer = gpt_layer(
        sizes,
        norm=norm,
        placement=Cases(before, {True: "pre", False: "post"}),
        attention=biases(bias),
        d_ff=size("ffn_dim", 3072),
        activation=activation("relu", "activation_function"),
        ffn_bias=bias,
    )
    last = Cases(flag("_remove_final_layer_norm", False), {False: norm, True: None})
    tie = flag("tie_word_embeddings", True)

    def head_width(config: Config) -> int | None:
        """Return the width that an untied head reads, where that is not the model's."""
        return None if tie.read(config) else narrow_width(config)

    return gpt_like(
        sizes,
        layer,
        stack_fields={
            "position": {"kind": "learned", "n_extra": 2},
            "final_norm": Cases(before, {True: last, False: None}),
        },
        embedding={"factor": EmbeddingFactor(D_EMBED, WIDTH, {"bias": False, "widen": "before_positions"})},
        head={"tied": tie, "d_in": ImpliedValue(head_width)},
        dropout={"attention": dropout("attention_dropout", 0.0), "residual": dropout("dropout", 0.1)},
    )


def biogpt() -> Template:
    """Return BioGPT's template."""
    sizes = SizeKeys(
        size("vocab_size", 42384),
        size("max_position_embeddings", 1024),
        size("hidden_size", 1024),
        layers(24),
        size("num_attention_heads", 16),
    )
    layer = gpt_layer(
        sizes,
        norm=NORM,
        attention=biases(True),
        d_ff=size("intermediate_size", 4096),
        activation=activation("gelu"),
    )
    hidden = dropout("hidden_dropout_prob", 0.1)
    return gpt_like(
        sizes,
        layer,
        stack_fields={"position": {"kind": "learned", "n_extra": 2}, "final_norm": NORM},
        embedding=root_scaled(sizes, True),
        head=tied(True),
        dropout={
            "embedding": hidden,
            "attention": dropout("attention_probs_dropout_prob", 0.1),
            "residual": hidden,
            "ffn": dropout("activation_dropout", 0.0),
        },
    )


def xglm() -> Template:
    """Return XGLM's template: fairseq's sinusoids, computed."""
    sizes = SizeKeys(
        size("vocab_size", 256008),
        size("max_position_embeddings", 2048),
        size("d_model", 1024, aliases=("hidden_size",)),
        layers(24, "num_layers", aliases=("num_hidden_layers",)),
        size("attention_heads", 16, aliases=("num_attention_heads",)),
    )
    layer = gpt_layer(
        sizes,
        norm=NORM,
        attention=biases(True),
        d_ff=size("ffn_dim", 4096),
        activation=activation("gelu", "activation_function"),
    ) | idle_cross(sizes)
    rate = dropout("dropout", 0.1)
    return gpt_like(
        sizes,
        layer,
        stack_fields={"position": {"kind": "sinusoidal", "order": "fairseq", "n_extra": 2}, "final_norm": NORM},
        embedding=root_scaled(sizes, True),
        head=tied(True),
        dropout={
            "embedding": rate,
            "attention": dropout("attention_dropout", 0.1),
            "residual": rate,
            "ffn": dropout("activation_dropout", 0.0),
        },
    )


def tensors(base: str, head: str, last: str) -> TensorMap:
    """Return the tensors under the base model's name; `last` is what it calls its last norm."""
    return table(
        modules(
            {
                "embed.tokens": "embed_tokens",
                "embed.project": "project_in",
                "positions": "embed_positions",
                "final_norm": last,
                "head.project": "project_out",
            },
            name=f"{base}.",
        ),
        modules(
            {
                "attn.q": "self_attn.q_proj",
                "attn.k": "self_attn.k_proj",
                "attn.v": "self_attn.v_proj",
                "attn.out": "self_attn.out_proj",
                "attn_norm": "self_attn_layer_norm",
                "cross.q": "encoder_attn.q_proj",
                "cross.k": "encoder_attn.k_proj",
                "cross.v": "encoder_attn.v_proj",
                "cross.out": "encoder_attn.out_proj",
                "cross_norm": "encoder_attn_layer_norm",
                "ffn.up": "fc1",
                "ffn.down": "fc2",
                "ffn_norm": "final_layer_norm",
            },
            "layers.{i}.",
            f"{base}.layers.{{i}}.",
        ),
        module("head", head),
    )


FAMILIES = (
    Family(
        "opt",
        ("OPTForCausalLM",),
        opt(),
        tensors("model.decoder", "lm_head", "final_layer_norm"),
        irrelevant=keys("layerdrop activation_dropout init_std"),
        class_heads={
            "Model": {"head": ImpliedValue(no_head)},
            "ForSequenceClassification": {"head": TEXT_LABELS | {"d_in": ImpliedValue(narrow_width)}},
            "ForQuestionAnswering": {"head": scores(2) | {"d_in": ImpliedValue(narrow_width)}},
        },
        spelling=Spelling(
            renames={r"^(?=decoder\.)": "model."}, copies={"lm_head.weight": "model.decoder.embed_tokens.weight"}
        ),
    ),
    Family(
        "biogpt",
        ("BioGptForCausalLM",),
        biogpt(),
        tensors("biogpt", "output_projection", "layer_norm"),
        # Its norms have torch's epsilon whatever the config says.
        irrelevant=keys("layerdrop layer_norm_eps"),
        spelling=Spelling(copies={"output_projection.weight": "biogpt.embed_tokens.weight"}),
    ),
    Family(
        "xglm",
        ("XGLMForCausalLM",),
        xglm(),
        tensors("model", "lm_head", "layer_norm"),
        irrelevant=keys("layerdrop"),
        spelling=Spelling(copies={"lm_head.weight": "model.embed_tokens.weight"}),
    ),
)
