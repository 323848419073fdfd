"""Small configs of BERT and its kin: one for each choice a row makes."""

from __future__ import annotations

from typing import Any

# A token that every test of logits reads.
MASK = 32
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
BERT = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "type_vocab_size": 3}
ESM = SMALL | {"intermediate_size": 56, "max_position_embeddings": 64, "pad_token_id": 1}
DISTILBERT = {"vocab_size": 96, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 56, "max_position_embeddings": 64}
DISTANCES = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
LOG_DISTANCES = DISTANCES | {"position_buckets": 4, "max_relative_positions": 9, "pos_att_type": "p2c|c2p"}

SOUNDS = {
    "shape_vocab_size": 7,
    "shape_embed_dim": 12,
    "pronunciation_vocab_size": 9,
    "pronunciation_embed_dim": 6,
    "pad_token_id": 5,
}
XLM = {"vocab_size": 96, "emb_dim": 32, "n_layers": 3, "n_heads": 4, "max_position_embeddings": 64}

# The class of each type that reads `is_decoder`.
CAUSAL = {
    "bert": "BertLMHeadModel",
    "roberta": "RobertaForCausalLM",
    "camembert": "CamembertForCausalLM",
    "xlm-roberta": "XLMRobertaForCausalLM",
    "xlm-roberta-xl": "XLMRobertaXLForCausalLM",
    "data2vec-text": "Data2VecTextForCausalLM",
    "electra": "ElectraForCausalLM",
    "megatron-bert": "MegatronBertForCausalLM",
    "roberta-prelayernorm": "RobertaPreLayerNormForCausalLM",
    "bert-generation": "BertGenerationDecoder",
    "ernie": "ErnieForCausalLM",
    "rembert": "RemBertForCausalLM",
    "roc_bert": "RoCBertForCausalLM",
    "roformer": "RoFormerForCausalLM",
}
# The types whose untied head has a second bias.
TWO_BIASES = (
    "bert",
    "tapas",
    "layoutlm",
    "albert",
    "roberta",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "data2vec-text",
    "mpnet",
    "megatron-bert",
    "roberta-prelayernorm",
    "bert-generation",
    "ibert",
    "jina_embeddings_v3",
    "ernie",
    "roformer",
)
SMALL_CONFIGS: dict[str, dict[str, Any]] = {
    "bert": BERT | {"hidden_act": "relu"},
    "roberta": BERT | {"hidden_act": "relu"},
    "camembert": BERT | {"pad_token_id": 0},
    "xlm-roberta": BERT | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    "xlm-roberta-xl": BERT | {"hidden_act": "silu"},
    "data2vec-text": BERT | {"pad_token_id": 3},
    "electra": BERT | {"embedding_size": 12, "hidden_act": "relu"},
    "distilbert": DISTILBERT | {"activation": "relu"},
    "mpnet": BERT,
    "megatron-bert": BERT | {"hidden_act": "gelu_new"},
    "roberta-prelayernorm": BERT | {"hidden_act": "relu"},
    "bert-generation": BERT | {"hidden_act": "relu"},
    "ibert": BERT,
    "jina_embeddings_v3": BERT | {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    "nomic_bert": BERT | {"head_dim": 12, "hidden_act": "gelu"},
    "ernie": BERT | {"hidden_act": "relu"},
    "albert": BERT | {"embedding_size": 12},
    "xlm": XLM | {"gelu_activation": False},
    "flaubert": XLM,
    "esm": ESM,
    "rembert": BERT | {"input_embedding_size": 12, "output_embedding_size": 20, "hidden_act": "relu"},
    "roformer": BERT | {"embedding_size": 12, "rotary_value": True},
    "gte": BERT | {"hidden_act": "silu"},
    "tapas": {**BERT, "type_vocab_sizes": [3, 5, 7]},
    "roc_bert": BERT | SOUNDS | {"hidden_act": "relu"},
    "luke": BERT | {"entity_vocab_size": 7, "entity_emb_size": 12, "hidden_act": "relu"},
    "layoutlm": BERT | {"max_2d_position_embeddings": 16, "hidden_act": "relu"},
    "deberta": BERT | DISTANCES | {"pooler_hidden_size": 32},
    "deberta-v2": BERT
    | LOG_DISTANCES
    | {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pooler_hidden_size": 32},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "electra as wide as its table": BERT | {"embedding_size": 32},
    "albert as wide as its table": BERT | {"embedding_size": 32},
    "albert in groups": BERT | {"num_hidden_layers": 5, "num_hidden_groups": 3, "embedding_size": 12},
    "albert in groups of several": BERT
    | {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 3, "embedding_size": 12},
    "nomic_bert without a width": BERT
    | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50.0}},
    "xlm causal": XLM | {"causal": True, "sinusoidal_embeddings": True, "tie_word_embeddings": False},
    "xlm of languages": XLM | {"n_langs": 4},
    "xlm without their table": XLM | {"n_langs": 4, "use_lang_emb": False},
    "flaubert with norms before": XLM | {"pre_norm": True},
    "deberta of few distances": BERT | DISTANCES | {"max_relative_positions": 5, "pos_att_type": "c2p"},
    "deberta of another head": BERT | DISTANCES | {"legacy": False, "pos_att_type": ["p2c"], "type_vocab_size": 0},
    "deberta untied": BERT | {"tie_word_embeddings": False},
    "deberta-v2 with its own projections": BERT | LOG_DISTANCES | {"position_biased_input": True, "legacy": False},
    "deberta-v2 with a convolution": BERT | LOG_DISTANCES | {"conv_kernel_size": 5, "conv_act": "gelu"},
    "deberta-v2 from contents": BERT | DISTANCES | {"pos_att_type": ["c2p"], "norm_rel_ebd": "layer_norm"},
    "deberta-v2 without products": BERT | DISTANCES | {"pos_att_type": None, "tie_word_embeddings": False},
    "roc_bert of shapes": BERT | SOUNDS | {"enable_pronunciation": False, "tie_word_embeddings": False},
    "roc_bert of words": BERT | SOUNDS | {"enable_pronunciation": False, "enable_shape": False},
    "roc_bert without a projection": BERT | SOUNDS | {"concat_input": False},
    "luke without their queries": BERT
    | {"entity_vocab_size": 7, "entity_emb_size": 32, "use_entity_aware_attention": False, "pad_token_id": 0},
    "luke untied": BERT | {"entity_vocab_size": 7, "tie_word_embeddings": False},
    "ernie of tasks": BERT | {"use_task_id": True, "task_type_vocab_size": 5},
    "esm with rope": ESM | {"position_embedding_type": "rotary", "rope_theta": 50.0, "emb_layer_norm_before": True},
    "esm with dropped tokens": ESM | {"pad_token_id": 0, "token_dropout": True, "mask_token_id": MASK},
    "esm untied": ESM | {"pad_token_id": 2, "tie_word_embeddings": False},
    "electra untied": BERT | {"embedding_size": 12, "tie_word_embeddings": False},
    "gte without types": BERT | {"type_vocab_size": 0, "tie_word_embeddings": False},
    "roformer as wide as its table": BERT | {"tie_word_embeddings": False},
    **{f"{name} untied": SMALL_CONFIGS[name] | {"tie_word_embeddings": False} for name in TWO_BIASES},
    "distilbert of sines": DISTILBERT | {"sinusoidal_pos_embds": True},
    "distilbert untied": DISTILBERT | {"tie_word_embeddings": False},
    **{
        f"{name} causal": SMALL_CONFIGS[name] | {"is_decoder": True, "architectures": [kind]}
        for name, kind in CAUSAL.items()
    },
}
# What a class has no default of.
NEEDS = {"esm": {"vocab_size": 33}}
# What tests of counts read: every type's own sizes, and the small ones.
CONFIGS = {f"{name}:default": NEEDS.get(name, {}) for name in SMALL_CONFIGS} | {
    f"{name.split(' ')[0]}:{name.partition(' ')[2] or 'small'}": config
    for name, config in (SMALL_CONFIGS | VARIANTS).items()
}
