"""Encoders that read long texts by sparse attention: Longformer, LED, LongT5, BigBird and its Pegasus, PEGASUS-X."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from msgspec import Struct
from msgspec.structs import replace

from archcalc.hf.config import TEXT, Config, ValueType
from archcalc.hf.families.bart import LEARNED
from archcalc.hf.families.bert_like import BERT, ROBERTA
from archcalc.hf.families.t5 import T5_HEAD
from archcalc.hf.family import Family, derive
from archcalc.hf.heads import LABELS, extra_modules, scores
from archcalc.hf.lens import Cases, Choice, ConfigDraft, Conversion, ImpliedValue, Key, Template
from archcalc.hf.stack import Schedule
from archcalc.hf.templates.bart_like import BartDefaults, BartSwitches, OwnSize, PartNames, bart_like
from archcalc.hf.templates.bert_like import DECODER_BIAS, EMBEDDING_NAMES, LAYER_NAMES, TIED, HeadNames
from archcalc.hf.templates.t5_like import NORM, SPELLING, T5Defaults, template, tensors
from archcalc.hf.tensors import TensorMap, module, modules, table
from archcalc.hf.vocabulary import activation, biases, flag, keys, size
from archcalc.spec.assumption import Assumption
from archcalc.words import msg

# -------------------------------------------------------------------------------------------------- Longformer and LED

EVEN = ValueType(lambda value: type(value) is int and value > 0 and value % 2 == 0, "an even number from 2")
# What is left and right of a token is within half the width.
WINDOW = Conversion(Key("attention_window", EVEN, 512), lambda width: width // 2 + 1, lambda window: 2 * (window - 1))
WINDOWS = {"attention_window": "attention_window"}
BY_BLOCKS = msg("the class computes scores by blocks of keys, where ours masks the others")
GLOBAL = {f"attn.global_{name[0]}": f"{name}_global" for name in ("query", "key", "value")}


def windowed(attention: Mapping[str, Any], n_global: int = 0) -> Template:
    """Return an attention with windows, whose first tokens are global. By default the class has no global tokens."""
    pattern = {"kind": "global_window", "window": WINDOW, "n_global": n_global}
    return {**attention, "kind": "sparse", "pattern": pattern}


def classified(attention: Mapping[str, Any]) -> Template:
    """Return the attention of the class that scores whole texts: their first token is global."""
    return windowed(attention, n_global=1)


LONGFORMER = derive(
    ROBERTA,
    "longformer",
    "LongformerForMaskedLM",
    root="longformer",
    vocab_size=size("vocab_size", 30522),
    causal_key=None,
    encoder_attention=windowed,
    other_products=BY_BLOCKS,
    class_attention={"ForSequenceClassification": classified},
    lists=WINDOWS,
    # The tokens before or after a separator are global.
    class_notes=dict.fromkeys(("ForMultipleChoice", "ForQuestionAnswering"), Assumption(kind="no_global_tokens")),
    names=EMBEDDING_NAMES
    | LAYER_NAMES
    | {
        f"layers.{{i}}.{ours}": f"{{root}}.encoder.layer.{{i}}.attention.self.{theirs}"
        for ours, theirs in GLOBAL.items()
    },
    irrelevant="onnx_export sep_token_id",
    unused={r"longformer\.embeddings\.position_ids": "follows from the config"},
)
LED = BartSwitches(
    BartDefaults(50265, 1024, 1024, (12, 12), 16, 4096, scale_embedding=None),
    LEARNED,
    names=PartNames(
        outside="led.",
        base="led.",
        encoder={
            f"attn.{ours}": f"self_attn.{theirs}"
            for ours, theirs in {
                **{name[0]: f"longformer_self_attn.{name}" for name in ("query", "key", "value")},
                **{f"global_{name[0]}": f"longformer_self_attn.{name}_global" for name in ("query", "key", "value")},
                "out": "output",
            }.items()
        },
    ),
    encoder_attention=windowed,
    lists=WINDOWS,
    context=size("max_decoder_position_embeddings", 1024),
    source_context=OwnSize(size("max_encoder_position_embeddings", 16384), "max_decoder_position_embeddings"),
)

# -------------------------------------------------------------------------------------------------------------- LongT5

RADIUS = Conversion(size("local_radius", 127), lambda radius: radius + 1, lambda window: window - 1)
KIND = Key("encoder_attention_type", TEXT, "local")
KINDS = Choice(KIND, {"local": "local", "transient-global": "transient-global"})
NAMES = {"local": "LocalSelfAttention", "transient-global": "TransientGlobalSelfAttention"}


def longt5_tensors(config: Config) -> TensorMap:
    """Return the tensors: the encoder's attention is named after its kind."""
    name = NAMES[KINDS.read(config)]
    first, each = f"encoder.block.0.layer.0.{name}.", f"encoder.block.{{i}}.layer.0.{name}."
    return table(
        module("encoder.summary_bias", f"{first}global_relative_attention_bias"),
        module("encoder.layers.{i}.attn.summary_norm", f"{each}global_input_layer_norm"),
        tensors(name).entries,
    )


def longt5() -> Family:
    """Return LongT5's row: T5 with an encoder that reads a window, or a window and summaries of blocks."""
    found = template(T5Defaults(32128, 2048, 6, 8, "relu"), T5_HEAD, "stack")
    encoder = found["encoder"]
    layer = encoder.kinds["layer"]
    attention = dict(layer["attention"])
    summaries = {
        "kind": "summaries",
        "window": RADIUS,
        "n_block": size("global_block_size", 16),
        "norm": NORM,
        "position": attention["position"],
    }
    own = {name: value for name, value in attention.items() if name != "position"}
    cases = {
        "local": attention | {"window": RADIUS},
        "transient-global": own | {"kind": "sparse", "pattern": summaries},
    }
    found["encoder"] = replace(encoder, kinds={"layer": {**layer, "attention": Cases(KINDS, cases)}})
    return Family(
        "longt5",
        ("LongT5ForConditionalGeneration",),
        found,
        tensors(NAMES["local"]),
        tensors_of=longt5_tensors,
        irrelevant=keys("is_decoder global_block_size"),
        is_encoder_decoder=True,
        spelling=SPELLING,
        other_products=BY_BLOCKS,
    )


# ------------------------------------------------------------------------------------------------------------- BigBird

SPARSE = Choice(Key("attention_type", TEXT, "block_sparse"), {"block_sparse": "sparse", "original_full": "full"})
BLOCKS = {
    "kind": "random_blocks",
    "n_block": size("block_size", 64),
    "n_random": size("num_random_blocks", 3),
}


def blocked(attention: Mapping[str, Any]) -> Template:
    """Return an attention by blocks, or the whole one."""
    sparse = {**attention, "kind": "sparse", "pattern": BLOCKS}
    return Cases(SPARSE, {"sparse": sparse, "full": attention})


BIG_BIRD_WIDTH, BIG_BIRD_ACTIVATION = size("hidden_size", 768), activation("gelu_new")
PAIR = extra_modules({"pooler": ("d_model", "d_model"), "relation": (2, "d_model")})


def answer_layer(layer: Mapping[str, Any]) -> Template:
    """Return the layer before the labels of answers: the feed-forward of the other layers alone."""
    arm = {"name": "answers", "part": {"kind": "plain", **layer["ffn"]}}
    return {"branches": ({"arms": (arm,), "norm_after": layer["norm"]},)}


BIG_BIRD = derive(
    BERT,
    "big_bird",
    "BigBirdForMaskedLM",
    "BigBirdForCausalLM",
    vocab_size=size("vocab_size", 50358),
    n_ctx=size("max_position_embeddings", 4096),
    d_model=BIG_BIRD_WIDTH,
    activation=BIG_BIRD_ACTIVATION,
    attention={f"{name}_bias": flag("use_bias", True) for name in "qkv"} | {"out_bias": True},
    encoder_attention=blocked,
    scale=Cases(
        flag("rescale_embeddings", False),
        {False: None, True: ImpliedValue(lambda config: BIG_BIRD_WIDTH.read(config) ** 0.5)},
    ),
    keeps_pooler=True,
    class_heads={
        # It has a dense layer of its own beside the unused pooler.
        "ForSequenceClassification": {
            "head": scores(LABELS, reads="first") | {"transform": {"activation": BIG_BIRD_ACTIVATION}}
        },
        "ForPreTraining": {"extras": Cases(TIED, {True: PAIR, False: (*PAIR, DECODER_BIAS)})},
        "ForQuestionAnswering": {"head": scores(2), "extras": ()},
        "ForNextSentencePrediction": None,
    },
    class_last_layer={"ForQuestionAnswering": answer_layer},
    class_tensors={
        "ForSequenceClassification": (
            *module("head.transform", "classifier.dense"),
            *module("head", "classifier.out_proj"),
        ),
        "ForQuestionAnswering": (
            *modules(
                {
                    "answers.up": "intermediate.dense",
                    "answers.down": "output.dense",
                    "answers_norm": "output.LayerNorm",
                },
                "layers.{i}.",
                "qa_classifier.",
            ),
            *module("head", "qa_classifier.qa_outputs"),
        ),
    },
    head_names=HeadNames(
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        has_decoder_bias=True,
        transform="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        pooler="{root}.pooler",
    ),
    # With the other value, the class lets a long text's tokens see later ones.
    decoder_keys={"attention_type": "original_full"},
    irrelevant="sep_token_id attention_type block_size num_random_blocks",
)
BIGBIRD_PEGASUS = BartSwitches(
    BartDefaults(96103, 4096, 1024, (16, 16), 16, 4096, activation="gelu_new", scale_embedding=True),
    LEARNED,
    "pre",
    embed_norm=False,
    final_norm=True,
    names=PartNames(
        final_norm="layernorm_embedding",
        encoder={f"attn.{name[0]}": f"self_attn.self.{name}" for name in ("query", "key", "value")}
        | {"attn.out": "self_attn.output"},
    ),
    attention=biases(flag("use_bias", False)),
    encoder_attention=blocked,
    is_tied_alone=False,
)

# ----------------------------------------------------------------------------------------------------------- PEGASUS-X

STAGGERS = flag("stagger_local_blocks", True)


@final
class StaggeredSchedule(Schedule, Struct, frozen=True):
    """The blocks of every second layer begin half a block earlier, if the config says so."""

    def names(self) -> Iterator[str]:
        """Yield the key."""
        yield from STAGGERS.names()

    def read(self, config: Config, n_layers: int) -> list[str]:
        """Return the kind of each layer."""
        staggers = STAGGERS.read(config)
        return ["staggered" if staggers and index % 2 else "blocks" for index in range(n_layers)]

    def write(self, kinds: Sequence[str], draft: ConfigDraft) -> None:
        """Put whether a layer is staggered; reading back shows whether it is every second."""
        STAGGERS.write("staggered" in kinds, draft)


def local(attention: Mapping[str, Any]) -> Template:
    """Return an attention within blocks, and with the global tokens of the stack."""
    pattern = {"kind": "local_blocks", "n_block": size("block_size", 512), "staggered": False}
    return {**attention, "kind": "sparse", "pattern": pattern}


def staggered(attention: Mapping[str, Any]) -> Template:
    """Return the same with blocks that begin half a block earlier, which the class can halve only if they are even."""
    pattern = {"kind": "local_blocks", "n_block": Key("block_size", EVEN, 512), "staggered": True}
    return {**attention, "kind": "sparse", "pattern": pattern}


PEGASUS_X = BartSwitches(
    BartDefaults(96103, 16384, 1024, (16, 16), 16, 4096, scale_embedding=True),
    {"kind": "sinusoidal", "order": "fairseq"},
    "pre",
    embed_norm=False,
    final_norm=True,
    has_logits_bias=False,
    names=PartNames(encoder={"attn_norm_global": "global_self_attn_layer_norm"}),
    attention=biases(False),
    encoder_kinds={"blocks": local, "staggered": staggered},
    schedule=StaggeredSchedule(),
    encoder_fields={"global_tokens": {"n_tokens": size("num_global_tokens", 32), "own_norm": True}},
)

FAMILIES = (
    LONGFORMER,
    replace(bart_like("led", "LEDForConditionalGeneration", None, LED), other_products=BY_BLOCKS),
    longt5(),
    BIG_BIRD,
    bart_like(
        "bigbird_pegasus",
        "BigBirdPegasusForConditionalGeneration",
        "BigBirdPegasusForCausalLM",
        BIGBIRD_PEGASUS,
        irrelevant=keys("attention_type block_size num_random_blocks tie_word_embeddings"),
    ),
    replace(
        bart_like("pegasus_x", "PegasusXForConditionalGeneration", None, PEGASUS_X),
        other_products=BY_BLOCKS,
    ),
)
