"""Small configs of encoders with parts of their own: adapters, a Fourier transform, projections in groups."""

from __future__ import annotations

from typing import Any

from tests.hf.tiny.bert_like import BERT

LANGUAGES = {"languages": ["en_XX", "de_DE", "cs_CZ"], "default_language": "de_DE", "adapter_reduction_factor": 3}
FNET = {name: value for name, value in BERT.items() if name != "num_attention_heads"}
MRA = BERT | {"block_per_row": 2}
NYSTROMFORMER = BERT | {"segment_means_seq_len": 32, "num_landmarks": 32, "conv_kernel_size": 7}
YOSO = BERT | {"hash_code_len": 3}
CONVBERT = BERT | {"embedding_size": 20, "conv_kernel_size": 5}
XLNET = {"vocab_size": 96, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 56}
SQUEEZEBERT = BERT | {"embedding_size": 32}
GROUPS = {
    "q_groups": 2,
    "k_groups": 14,
    "v_groups": 1,
    "post_attention_groups": 4,
    "intermediate_groups": 1,
    "output_groups": 7,
    "intermediate_size": 56,
    "hidden_size": 28,
    "embedding_size": 28,
}
XMOD = BERT | LANGUAGES | {"hidden_act": "relu"}

MOBILEBERT = BERT | {"embedding_size": 12, "intra_bottleneck_size": 16, "num_feedforward_networks": 3}
WIDE_MOBILEBERT = MOBILEBERT | {"use_bottleneck": False, "num_feedforward_networks": 1, "trigram_input": False}
LAYER_NORMS = {"normalization_type": "layer_norm", "layer_norm_eps": 0.01, "hidden_act": "gelu"}

CONFIGS: dict[str, Any] = {
    "mobilebert:default": {},
    "mobilebert:small": MOBILEBERT,
    "mobilebert:wide": WIDE_MOBILEBERT | LAYER_NORMS | {"tie_word_embeddings": False},
    "mobilebert:narrow attention": MOBILEBERT | LAYER_NORMS | {"use_bottleneck_attention": True},
    "mobilebert:no keys": MOBILEBERT | {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False},
    "fnet:default": {},
    "fnet:small": FNET | {"hidden_act": "relu"},
    "fnet:untied": FNET | {"tie_word_embeddings": False},
    "mra:default": {},
    "mra:small": MRA | {"hidden_act": "relu"},
    "mra:untied": MRA | {"tie_word_embeddings": False, "hidden_size": 64, "num_attention_heads": 2},
    "nystromformer:default": {},
    "nystromformer:small": NYSTROMFORMER | {"hidden_act": "relu"},
    "nystromformer:untied": NYSTROMFORMER | {"tie_word_embeddings": False, "add_cross_attention": True},
    "yoso:default": {},
    "yoso:small": YOSO | {"hidden_act": "relu", "num_hash": 3},
    "yoso:convolved": YOSO | {"conv_window": 5, "hash_code_len": 1, "tie_word_embeddings": False},
    "convbert:default": {},
    "convbert:small": CONVBERT | {"hidden_act": "relu"},
    "convbert:one head": CONVBERT | {"head_ratio": 9, "conv_kernel_size": 1, "embedding_size": 32},
    "convbert:grouped": CONVBERT | {"num_groups": 4, "num_attention_heads": 8, "tie_word_embeddings": False},
    "squeezebert:default": {},
    "squeezebert:small": SQUEEZEBERT | {"hidden_act": "relu", "layer_norm_eps": 0.01},
    "squeezebert:untied": SQUEEZEBERT | GROUPS | {"tie_word_embeddings": False},
    "xlnet:default": {},
    "xlnet:small": XLNET | {"ff_activation": "relu", "layer_norm_eps": 0.01, "d_head": 8},
    "xlnet:clamped": XLNET | {"clamp_len": 3, "tie_word_embeddings": False, "mem_len": None},
    "xmod:default": {},
    "xmod:small": XMOD,
    "xmod:untied": XMOD | {"ln_before_adapter": False, "tie_word_embeddings": False},
    "xmod:own norm": XMOD | {"adapter_layer_norm": True, "default_language": "cs_CZ"},
    "xmod:no norm": XMOD | {"adapter_reuse_layer_norm": False, "num_hidden_layers": 2},
    "xmod:before": XMOD | {"pre_norm": True, "architectures": ["XmodForCausalLM"], "is_decoder": True},
    "xmod:before, outside": XMOD | {"pre_norm": True, "ln_before_adapter": False, "num_hidden_layers": 2},
}
