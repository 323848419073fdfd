"""T5, mT5 and UMT5; version 1.1 gates its feed-forward and has a head of its own."""

from archcalc.hf.lens import Cases, ImpliedValue
from archcalc.hf.templates.t5_like import WIDTH, T5Defaults, t5_like
from archcalc.hf.vocabulary import flag

# A tied head is scaled.
SCALE = ImpliedValue(lambda config: WIDTH.read(config) ** -0.5)
# transformers 5 ties every head of T5's kind when it reads a config. T5's class keeps what the file said under another
# key, which is then the scale alone.
T5_HEAD = Cases(
    flag("tie_word_embeddings", True),
    {
        True: {"tied": True, "scale": Cases(flag("scale_decoder_outputs", True), {False: None, True: SCALE})},
        False: {"tied": False, "scale": Cases(flag("scale_decoder_outputs", False), {False: None, True: SCALE})},
    },
)
# No head of mT5's class is scaled, tied or not.
MT5_HEAD = {"tied": flag("tie_word_embeddings", True), "scale": None}
UMT5_HEAD = Cases(
    flag("tie_word_embeddings", True), {True: {"tied": True, "scale": SCALE}, False: {"tied": False, "scale": None}}
)
MULTILINGUAL = T5Defaults(250112, 1024, 8, 6, "gated-gelu")

FAMILIES = (
    t5_like(
        "t5",
        ("T5ForConditionalGeneration", "T5WithLMHeadModel"),
        T5Defaults(32128, 2048, 6, 8, "relu"),
        T5_HEAD,
    ),
    t5_like("mt5", ("MT5ForConditionalGeneration",), MULTILINGUAL, MT5_HEAD),
    t5_like("umt5", ("UMT5ForConditionalGeneration",), MULTILINGUAL, UMT5_HEAD, shared="layer"),
)
