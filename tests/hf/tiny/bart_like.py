"""Small configs of BART's relatives."""

from __future__ import annotations

from tests.hf.tiny.bert_like import BERT

SIDES = {
    "vocab_size": 96,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
}
SEAMLESS = {"hidden_size" if name == "d_model" else name: value for name, value in SIDES.items()}
MARIAN = SIDES | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 96, "pad_token_id": 0}
# With a cache, the class takes each text for its last token alone and leaves the causal mask out.
FSMT = {name: value for name, value in SIDES.items() if name != "vocab_size"} | {"use_cache": False}
# The classes of their decoders alone.
ALONE = {
    "bart": "BartForCausalLM",
    "mbart": "MBartForCausalLM",
    "pegasus": "PegasusForCausalLM",
    "blenderbot": "BlenderbotForCausalLM",
    "blenderbot-small": "BlenderbotSmallForCausalLM",
    "plbart": "PLBartForCausalLM",
    "mvp": "MvpForCausalLM",
    "marian": "MarianForCausalLM",
}
TYPES = ("bart", "mbart", "pegasus", "blenderbot", "blenderbot-small", "plbart", "mvp", "m2m_100")
GPT2 = {"vocab_size": 96, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4}
CROSSES = {"is_decoder": True, "add_cross_attention": True}
# Without a class's name, the default is the model that hears.
NEEDS = {"whisper": {"is_encoder_decoder": False}}

CONFIGS = {
    **{f"{name}:small": SIDES | {"scale_embedding": True} for name in TYPES},
    "m2m_100:padding": SIDES | {"pad_token_id": 4},
    **{f"{name}:small": SEAMLESS | {"activation_function": "gelu"} for name in ("seamless_m4t", "seamless_m4t_v2")},
    "bart:relu": SIDES | {"activation_function": "relu"},
    **{
        f"{name}:alone": SIDES | {"architectures": [kind], "is_encoder_decoder": False, "pad_token_id": 0}
        for name, kind in ALONE.items()
    },
    **{f"{name}:untied": SIDES | {"tie_word_embeddings": False, "scale_embedding": True} for name in TYPES},
    "seamless_m4t:untied": SEAMLESS | {"tie_word_embeddings": False},
    "marian:two tables": MARIAN | {"vocab_size": 99, "scale_embedding": True},
    "marian:untied": MARIAN | {"vocab_size": 99, "tie_word_embeddings": False},
    "fsmt:small": FSMT | {"src_vocab_size": 99, "tgt_vocab_size": 96},
    "fsmt:tied": FSMT | {"src_vocab_size": 96, "tgt_vocab_size": 96, "tie_word_embeddings": True},
    "trocr:small": SIDES | {"scale_embedding": True},
    "trocr:sinusoids": SIDES | {"use_learned_position_embeddings": False, "layernorm_embedding": False},
    "whisper:small": SIDES | {"max_target_positions": 64, "pad_token_id": 0, "scale_embedding": True},
    "whisper:untied": SIDES
    | {"max_target_positions": 60, "pad_token_id": 0, "tie_word_embeddings": False, "activation_function": "relu"},
    "nllb-moe:dense": SIDES | {"encoder_sparse_step": 0, "decoder_sparse_step": 0},
    "nllb-moe:mixed": SIDES
    | {"encoder_sparse_step": 2, "decoder_sparse_step": 1, "num_experts": 5, "router_bias": True}
    | {"moe_token_dropout": 0.1, "scale_embedding": False, "pad_token_id": 4},
    "nllb-moe:untied": SIDES | {"tie_word_embeddings": False, "decoder_sparse_step": 2, "num_experts": 3},
    "plbart:unscaled": SIDES | {"scale_embedding": False},
    "encoder-decoder:small": {
        "encoder": BERT | {"vocab_size": 99, "num_hidden_layers": 2, "hidden_act": "relu"},
        "decoder": BERT | CROSSES,
        "decoder_start_token_id": 2,
    },
    "encoder-decoder:of GPT-2": {
        "encoder": BERT | {"num_hidden_layers": 2},
        "decoder": GPT2 | {"model_type": "gpt2", "add_cross_attention": True, "scale_attn_by_inverse_layer_idx": True},
    },
    "encoder-decoder:of two types": {
        "encoder": BERT | {"model_type": "roberta", "intermediate_size": 40},
        "decoder": BERT | CROSSES | {"model_type": "bert-generation", "tie_word_embeddings": False},
    },
}
