"""T5 and mT5: relative biases, unscaled scores; version 1.1 gates its feed-forward and has a head of its own."""

from typing import Any

from archcalc.hf.config import TEXT
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Given, Key, Lens, Must, Template, Word
from archcalc.hf.spellings import Spelling
from archcalc.hf.stack import Stack
from archcalc.hf.tensors import Holds, renamed, same, table
from archcalc.hf.vocabulary import ACTIVATIONS, dropout, flag, keys, layers, rmsnorm, size

WIDTH = size("d_model", 512, others=("hidden_size",))
NORM = rmsnorm(1e-6, "layer_norm_epsilon")
POSITION = {
    "kind": "relative",
    "n_buckets": size("relative_attention_num_buckets", 32),
    "max_distance": size("relative_attention_max_distance", 128),
}
# transformers 5 ties every T5 when it reads a config, and keeps what the config said under the second key. A tied head
# is scaled.
T5_HEAD = Cases(
    Cases(flag("tie_word_embeddings", True), {False: False, True: flag("scale_decoder_outputs", True)}),
    {
        True: {"tied": True, "scale": Given(lambda config: WIDTH.read(config) ** -0.5)},
        False: {"tied": False, "scale": None},
    },
)
# No head of mT5's class is scaled, tied or not.
MT5_HEAD = {"tied": flag("tie_word_embeddings", True), "scale": None}


def feed_forward(d_ff: Lens, default: str) -> Template:
    """Plain or gated, as one word says together with the activation."""
    plain = {word: {"kind": "plain", "d_ff": d_ff, "activation": ours} for word, ours in ACTIVATIONS.items()}
    # The word gelu means the tanh approximation where it is gated, and there alone.
    meanings = ACTIVATIONS | {"gelu": "gelu_tanh"}
    gated = {f"gated-{word}": {"kind": "gated", "d_ff": d_ff, "activation": ours} for word, ours in meanings.items()}
    cases = plain | gated
    return Cases(Word(Key("feed_forward_proj", TEXT, default), {word: word for word in cases}), cases)


def template(vocab_size: int, d_ff: int, n_layers: int, n_heads: int, proj: str, head: Template) -> Template:
    """The template with a model type's defaults."""
    ffn = feed_forward(size("d_ff", d_ff), proj)
    depth = layers(n_layers, "num_layers", others=("num_hidden_layers",))
    attention: dict[str, Any] = {
        "kind": "gqa",
        "n_heads": size("num_heads", n_heads, others=("num_attention_heads",)),
        "d_head": size("d_kv", 64, others=("head_dim",)),
        "scale": 1.0,
    }
    layer = {"norm": NORM, "attention": attention | {"position": POSITION}}
    decoder = layers(depth.read, "num_decoder_layers", null=depth.read)
    rate = dropout("dropout_rate", 0.1)
    return {
        "vocab_size": size("vocab_size", vocab_size),
        # What it was trained on: the biases set no bound.
        "n_ctx": size("n_positions", 512),
        "d_model": WIDTH,
        "encoder": Stack(count=depth, kinds={"layer": layer | {"ffn": ffn}}, around={"final_norm": NORM}),
        "decoder": Stack(
            count=decoder, kinds={"layer": layer | {"cross": attention, "ffn": ffn}}, around={"final_norm": NORM}
        ),
        "head": head,
        "dropout": dict.fromkeys(("embedding", "attention", "residual", "ffn"), rate),
    }


def _stack(stack: str, parts: dict[str, str], ffn: int) -> tuple[Holds, ...]:
    """A stack's tensors; the feed-forward is its layers' part number `ffn`."""
    block = f"{stack}.block.{{i}}.layer."
    up = f"{stack}.layers.{{i}}.ffn.up"
    gate = f"{stack}.layers.{{i}}.ffn.gate"
    attention = {
        f"{part}.{name}": f"{there}.{name[0]}" for part, there in parts.items() for name in ("q", "k", "v", "out")
    }
    norms = {f"{part}_norm": there.split(".")[0] + ".layer_norm" for part, there in parts.items()}
    return (
        *renamed(attention | norms | {"ffn_norm": f"{ffn}.layer_norm"}, f"{stack}.layers.{{i}}.", block),
        *same(gate, f"{block}{ffn}.DenseReluDense.wi_0"),
        *same(up, f"{block}{ffn}.DenseReluDense.wi_1", beside=f"{gate}.weight"),
        *same(up, f"{block}{ffn}.DenseReluDense.wi"),
        *same(f"{stack}.layers.{{i}}.ffn.down", f"{block}{ffn}.DenseReluDense.wo"),
        *same(f"{stack}.relative_bias", f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"),
        *same(f"{stack}.final_norm", f"{stack}.final_layer_norm"),
    )


TENSORS = table(
    same("embed.tokens", "shared"),
    _stack("encoder", {"attn": "0.SelfAttention"}, ffn=1),
    _stack("decoder", {"attn": "0.SelfAttention", "cross": "1.EncDecAttention"}, ffn=2),
    same("head", "lm_head"),
)

MUST = (Must("is_decoder", (False,)),)
# Said again by feed_forward_proj.
HARMLESS = keys("dense_act_fn is_gated_act")

SPELLING = Spelling(
    copies={f"{part}.weight": "shared.weight" for part in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")},
    # transformers 5 ties every head of T5 and then saves none.
    absent={"lm_head.weight": "shared.weight"},
    left={r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight": "never read"},
)

FAMILIES = (
    Family(
        "t5",
        ("T5ForConditionalGeneration", "T5WithLMHeadModel"),
        template(32128, 2048, 6, 8, "relu", T5_HEAD),
        TENSORS,
        MUST,
        HARMLESS,
        is_encoder_decoder=True,
        spelling=SPELLING,
    ),
    Family(
        "mt5",
        ("MT5ForConditionalGeneration",),
        template(250112, 1024, 8, 6, "gated-gelu", MT5_HEAD),
        TENSORS,
        MUST,
        HARMLESS,
        is_encoder_decoder=True,
        spelling=SPELLING,
    ),
)
