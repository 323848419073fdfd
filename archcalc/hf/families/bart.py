"""BART, and the encoder-decoders whose configs are written in its words."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from archcalc.hf.config import COUNT, Config
from archcalc.hf.family import Family
from archcalc.hf.lens import Cases, Constraint, Conversion, DuplicateKey, Key, Template
from archcalc.hf.templates.bart_like import (
    BartDefaults,
    BartSwitches,
    OwnSize,
    PartNames,
    bart_like,
    decoder_alone,
)
from archcalc.hf.vocabulary import biases, flag, keys, size

LEARNED = {"kind": "learned"}
TWO_ROWS_LATE = {"kind": "learned", "n_extra": 2}
STORED = {"kind": "sinusoidal", "stored": True, "order": "halves"}
LARGE = BartDefaults(50265, 1024, 1024, (12, 12), 16, 4096)

BLENDERBOT = BartDefaults(8008, 128, 2560, (2, 24), 32, 10240)
SMALL_BLENDERBOT = BartDefaults(50265, 512, 512, (8, 8), 16, 2048)
PLBART = BartDefaults(50005, 1024, 768, (6, 6), 12, 3072, scale_embedding=True, attention_dropout=0.1)
M2M = BartDefaults(
    128112, 1024, 1024, (12, 12), 16, 4096, activation="relu", scale_embedding=True, attention_dropout=0.1
)
MARIAN = BartDefaults(58101, 1024, 1024, (12, 12), 16, 4096)
# Keys of the parts that hear and speak, which the text-to-text class does not have.
SPEECH = keys(
    "t2u_vocab_size char_vocab_size max_new_tokens speech_encoder_layers speech_encoder_attention_heads"
    " speech_encoder_intermediate_size speech_encoder_hidden_act speech_encoder_dropout add_adapter"
    " speech_encoder_layerdrop feature_projection_input_dim num_conv_pos_embeddings num_conv_pos_embedding_groups"
    " adaptor_kernel_size adaptor_stride adaptor_dropout num_adapter_layers position_embeddings_type"
    " rotary_embedding_base max_source_positions conv_depthwise_kernel_size left_max_position_embeddings"
    " right_max_position_embeddings speech_encoder_chunk_size speech_encoder_left_chunk_num t2u_bos_token_id"
    " t2u_pad_token_id t2u_eos_token_id t2u_decoder_start_token_id t2u_max_new_tokens t2u_encoder_layers"
    " t2u_encoder_ffn_dim t2u_encoder_attention_heads t2u_decoder_layers t2u_decoder_ffn_dim"
    " t2u_decoder_attention_heads t2u_max_position_embeddings t2u_variance_predictor_embed_dim"
    " t2u_variance_predictor_hidden_dim t2u_variance_predictor_kernel_size t2u_variance_pred_dropout sampling_rate"
    " upsample_initial_channel upsample_rates upsample_kernel_sizes resblock_kernel_sizes resblock_dilation_sizes"
    " leaky_relu_slope unit_hifi_gan_vocab_size unit_embed_dim lang_embed_dim spkr_embed_dim vocoder_num_langs"
    " vocoder_num_spkrs variance_predictor_kernel_size var_pred_dropout vocoder_offset layer_norm_eps"
)
SEAMLESS = PartNames(
    outside="",
    base="text_",
    cross="cross_attention",
    ffn="ffn.",
    ffn_norm="ffn_layer_norm",
    width=("hidden_size",),
    main="decoder",
)


def fairseq(padding: int) -> dict[str, Template]:
    """Return fairseq's sinusoids: the first position is the row after that of the padding token."""
    row = Conversion(Key("pad_token_id", COUNT, padding), lambda index: index + 1, lambda n_extra: n_extra - 1)
    return {"kind": "sinusoidal", "order": "fairseq", "n_extra": row}


TROCR = BartSwitches(
    BartDefaults(50265, 512, 1024, (12, 12), 16, 4096),
    Cases(flag("use_learned_position_embeddings", True), {True: TWO_ROWS_LATE, False: fairseq(1)}),
    embed_norm=flag("layernorm_embedding", True),
    names=PartNames(main="decoder"),
)

# Its encoder hears, which no spec describes; the class never scales its embeddings.
WHISPER = BartSwitches(
    BartDefaults(51865, 448, 384, (4, 4), 6, 1536, scale_embedding=None, other_dropout=0.0),
    LEARNED,
    "pre",
    embed_norm=False,
    final_norm=True,
    attention=biases(True) | {"k_bias": False},
    context=size("max_target_positions", 448),
)
HEARS = keys(
    "num_mel_bins max_source_positions use_weighted_layer_sum classifier_proj_size apply_spec_augment mask_time_prob"
    " mask_time_length mask_time_min_masks mask_feature_prob mask_feature_length mask_feature_min_masks"
    " median_filter_width scale_embedding num_key_value_heads"
)


def seamless(model_type: str, text_to_text: str, n_ctx: int) -> Family:
    """Return the text-to-text class of a model type whose other classes hear or speak."""
    defaults = BartDefaults(
        256102, n_ctx, 1024, (24, 24), 16, 8192, activation="relu", scale_embedding=True, attention_dropout=0.1
    )
    bart = BartSwitches(
        defaults, fairseq(0), "pre", embed_norm=False, final_norm=True, has_logits_bias=False, names=SEAMLESS
    )
    return replace(bart_like(model_type, text_to_text, None, bart, irrelevant=SPEECH), class_heads={"Model": None})


def fixed(before: bool, embedding: bool, last: bool) -> tuple[Constraint, ...]:
    """Return the rules for the options of fairseq, of which a class has built one choice alone."""
    return (
        Constraint("normalize_before", (before,)),
        Constraint("normalize_embedding", (embedding,)),
        Constraint("add_final_layer_norm", (last,)),
    )


FSMT = BartSwitches(
    BartDefaults(42024, 1024, 1024, (12, 12), 16, 4096, activation="relu", scale_embedding=True),
    fairseq(1) | {"stored": True},
    embed_norm=False,
    has_logits_bias=False,
    names=PartNames(outside="model.", head="model.decoder.output_projection"),
    vocabulary=size("tgt_vocab_size", 42024, aliases=("vocab_size",)),
    source_vocabulary=OwnSize(size("src_vocab_size", 42024), "tgt_vocab_size"),
    is_tied=False,
)
# The class hands `use_prompt` to its encoder as another argument, so that only the decoder has prompts.
MVP = BartSwitches(
    replace(LARGE, vocab_size=50267),
    TWO_ROWS_LATE,
    names=PartNames(prompts={"attn": "self_attn_prompt", "cross": "cross_attn_prompt"}),
    prompts=Cases(
        flag("use_prompt", False),
        {False: None, True: {"n_prompt": size("prompt_length", 100), "d_prompt": size("prompt_mid_dim", 800)}},
    ),
)

FSMT_KEYS = keys("langs")
# The bare class predicts tokens as well: the projection to logits is its decoder's.
BARE_FSMT = bart_like(
    "fsmt",
    "FSMTModel",
    None,
    replace(FSMT, names=PartNames(outside="", base="", head="decoder.output_projection")),
    irrelevant=FSMT_KEYS,
)


def marian() -> Family:
    """Return Marian's row, with one vocabulary for both sides or two."""

    def fallback(config: Config) -> Any:
        return vocabulary.read(config)

    vocabulary = size("vocab_size", 58101)
    of_decoder = size("decoder_vocab_size", fallback, null=fallback)
    layout = (*fixed(before=False, embedding=False, last=False), Constraint("static_position_embeddings", (True,)))
    one = Constraint("decoder_vocab_size", (vocabulary, None))
    # By default these are the last rows of a table of 58,101.
    fixed_keys = {"pad_token_id": 0, "decoder_start_token_id": 0}
    shared = BartSwitches(MARIAN, STORED, embed_norm=False)
    two = replace(
        shared,
        vocabulary=of_decoder,
        source_vocabulary=OwnSize(vocabulary, "decoder_vocab_size"),
        has_own_tables=True,
    )
    separate = bart_like(
        "marian",
        "MarianMTModel",
        None,
        two,
        (*layout, Constraint("share_encoder_decoder_embeddings", (False,))),
        fixed_keys=fixed_keys | {"share_encoder_decoder_embeddings": False},
    )
    # Tied, the head is the decoder's table, whatever its own vocabulary would be.
    tied = decoder_alone(
        "marian",
        "MarianForCausalLM",
        replace(shared, vocabulary=DuplicateKey(of_decoder, "vocab_size")),
        layout,
        fixed_keys=fixed_keys,
    )
    return bart_like(
        "marian",
        "MarianMTModel",
        "MarianForCausalLM",
        shared,
        (*layout, one),
        (Constraint("share_encoder_decoder_embeddings", (True,)),),
        fixed_keys=fixed_keys,
        forms=(replace(separate, when=_has_two_tables), replace(tied, when=_is_tied_alone)),
    )


def _is_alone(data: Mapping[str, Any]) -> bool:
    stated = data.get("architectures")
    return stated == ["MarianForCausalLM"] if stated else data.get("is_encoder_decoder") is False


def _has_two_tables(data: Mapping[str, Any]) -> bool:
    return not _is_alone(data) and data.get("share_encoder_decoder_embeddings") is False


def _is_tied_alone(data: Mapping[str, Any]) -> bool:
    return _is_alone(data) and data.get("tie_word_embeddings", True) is True


FAMILIES = (
    bart_like(
        "bart",
        "BartForConditionalGeneration",
        "BartForCausalLM",
        BartSwitches(LARGE, TWO_ROWS_LATE),
        fixed(before=False, embedding=True, last=False),
    ),
    bart_like(
        "mbart",
        "MBartForConditionalGeneration",
        "MBartForCausalLM",
        BartSwitches(LARGE, TWO_ROWS_LATE, "pre", final_norm=True),
        fixed(before=True, embedding=True, last=True),
    ),
    bart_like(
        "pegasus",
        "PegasusForConditionalGeneration",
        "PegasusForCausalLM",
        BartSwitches(LARGE, STORED, "pre", embed_norm=False, final_norm=True),
        (*fixed(before=True, embedding=False, last=True), Constraint("static_position_embeddings", (True,))),
    ),
    bart_like(
        "blenderbot",
        "BlenderbotForConditionalGeneration",
        "BlenderbotForCausalLM",
        BartSwitches(BLENDERBOT, LEARNED, "pre", embed_norm=False, final_norm=True),
        fixed(before=True, embedding=False, last=True),
    ),
    bart_like(
        "blenderbot-small",
        "BlenderbotSmallForConditionalGeneration",
        "BlenderbotSmallForCausalLM",
        BartSwitches(SMALL_BLENDERBOT, LEARNED, positionless_norm="decoder"),
        fixed(before=False, embedding=True, last=False),
    ),
    bart_like(
        "plbart",
        "PLBartForConditionalGeneration",
        "PLBartForCausalLM",
        BartSwitches(PLBART, TWO_ROWS_LATE),
        fixed(before=False, embedding=True, last=False),
    ),
    replace(
        bart_like(
            "mvp",
            "MvpForConditionalGeneration",
            "MvpForCausalLM",
            MVP,
            fixed(before=False, embedding=True, last=False),
            irrelevant=keys("prompt_length prompt_mid_dim"),
        ),
    ),
    bart_like(
        "m2m_100",
        "M2M100ForConditionalGeneration",
        None,
        BartSwitches(M2M, fairseq(1), "pre", embed_norm=False, final_norm=True, has_logits_bias=False),
        (*fixed(before=True, embedding=False, last=True), Constraint("static_position_embeddings", (True,))),
    ),
    seamless("seamless_m4t", "SeamlessM4TForTextToText", 1024),
    seamless("seamless_m4t_v2", "SeamlessM4Tv2ForTextToText", 4096),
    marian(),
    bart_like("fsmt", "FSMTForConditionalGeneration", None, FSMT, irrelevant=FSMT_KEYS, forms=(BARE_FSMT,)),
    decoder_alone("trocr", "TrOCRForCausalLM", TROCR, head="output_projection"),
    replace(
        # By default the padding token is in the last rows of a table of 51,865.
        decoder_alone(
            "whisper",
            "WhisperForCausalLM",
            WHISPER,
            irrelevant=HEARS,
            fixed_keys={"pad_token_id": 0},
            head="proj_out",
        ),
        class_heads={"Model": None},
    ),
)
