"""BART, and the encoder-decoders whose configs are written in its words."""

from dataclasses import replace

from archcalc.hf.lens import Must
from archcalc.hf.templates.bart_like import Bart, Defaults, bart_like
from archcalc.hf.vocabulary import keys, size

LEARNED = {"kind": "learned"}
TWO_ROWS_LATE = {"kind": "learned", "n_extra": 2}
STORED = {"kind": "sinusoidal", "stored": True, "order": "halves"}
FAIRSEQ = {"kind": "sinusoidal", "order": "fairseq", "n_extra": 2}
LARGE = Defaults(50265, 1024, 1024, (12, 12), 16, 4096)

BLENDERBOT = Defaults(8008, 128, 2560, (2, 24), 32, 10240)
SMALL_BLENDERBOT = Defaults(50265, 512, 512, (8, 8), 16, 2048)
PLBART = Defaults(50005, 1024, 768, (6, 6), 12, 3072, scale_embedding=True, attention_dropout=0.1)
M2M = Defaults(
    128112, 1024, 1024, (12, 12), 16, 4096, activation="relu", scale_embedding=True, attention_dropout=0.1
)
MARIAN = Defaults(58101, 1024, 1024, (12, 12), 16, 4096)


def fixed(before: bool, embedding: bool, last: bool) -> tuple[Must, ...]:
    """Return the rules for the options of fairseq, of which a class has built one choice alone."""
    return (
        Must("normalize_before", (before,)),
        Must("normalize_embedding", (embedding,)),
        Must("add_final_layer_norm", (last,)),
    )


FAMILIES = (
    bart_like(
        "bart", "BartForConditionalGeneration", Bart(LARGE, TWO_ROWS_LATE), fixed(before=False, embedding=True, last=False)
    ),
    bart_like(
        "mbart",
        "MBartForConditionalGeneration",
        Bart(LARGE, TWO_ROWS_LATE, "pre", final_norm="layer_norm"),
        fixed(before=True, embedding=True, last=True),
    ),
    bart_like(
        "pegasus",
        "PegasusForConditionalGeneration",
        Bart(LARGE, STORED, "pre", embed_norm=False, final_norm="layer_norm"),
        (*fixed(before=True, embedding=False, last=True), Must("static_position_embeddings", (True,))),
    ),
    bart_like(
        "blenderbot",
        "BlenderbotForConditionalGeneration",
        Bart(BLENDERBOT, LEARNED, "pre", embed_norm=False, final_norm="layer_norm"),
        fixed(before=True, embedding=False, last=True),
    ),
    bart_like(
        "blenderbot-small",
        "BlenderbotSmallForConditionalGeneration",
        Bart(SMALL_BLENDERBOT, LEARNED),
        fixed(before=False, embedding=True, last=False),
    ),
    bart_like(
        "plbart",
        "PLBartForConditionalGeneration",
        Bart(PLBART, TWO_ROWS_LATE),
        fixed(before=False, embedding=True, last=False),
    ),
    bart_like(
        "mvp",
        "MvpForConditionalGeneration",
        Bart(replace(LARGE, vocab_size=50267), TWO_ROWS_LATE),
        (*fixed(before=False, embedding=True, last=False), Must("use_prompt", (False,))),
        harmless=keys("prompt_length prompt_mid_dim"),
    ),
    bart_like(
        "m2m_100",
        "M2M100ForConditionalGeneration",
        Bart(M2M, FAIRSEQ, "pre", embed_norm=False, final_norm="layer_norm"),
        (*fixed(before=True, embedding=False, last=True), Must("static_position_embeddings", (True,))),
    ),
    bart_like(
        "marian",
        "MarianMTModel",
        Bart(MARIAN, STORED, embed_norm=False),
        (
            *fixed(before=False, embedding=False, last=False),
            Must("static_position_embeddings", (True,)),
            Must("share_encoder_decoder_embeddings", (True,)),
            Must("decoder_vocab_size", (size("vocab_size", 58101), None)),
        ),
        # By default these are the last rows of a table of 58,101.
        also={"pad_token_id": 0, "decoder_start_token_id": 0},
    ),
)
