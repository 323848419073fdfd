"""Keys of any config.json that change no number: of training, tokenizing, generating and saving."""

from __future__ import annotations

from archcalc.hf.lens import Constraint

_SAVING = """
_name_or_path name_or_path _commit_hash transformers_version auto_map custom_pipelines torch_dtype dtype use_bfloat16
torchscript quantization_config quantization compression_config unsloth_version unsloth_fixed model_max_length
_from_model_config
_attn_implementation _attn_implementation_autoset attn_implementation _experts_implementation experts_implementation
transformers.js_config _flash_attn_2_enabled use_flash_attn use_flash_attention flash_attn onnx_export
"""

_TRAINING = """
initializer_range initializer_factor init_std gradient_checkpointing pretraining_tp output_router_logits
router_aux_loss_coef classifier_dropout finetuning_task task_specific_params problem_type id2label label2id num_labels
_num_labels return_dict use_return_dict output_attentions output_hidden_states output_past output_logits
tie_last_hidden_states chunk_size_feed_forward loss_type
"""

_TOKENIZING = """
bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id image_token_id
decoder_start_token_id tokenizer_class prefix bos_token eos_token pad_token
"""

_GENERATING = """
use_cache is_decoder temperature top_k top_p min_p top_h typical_p epsilon_cutoff eta_cutoff do_sample num_beams
num_beam_groups diversity_penalty repetition_penalty encoder_repetition_penalty length_penalty no_repeat_ngram_size
encoder_no_repeat_ngram_size max_length min_length max_new_tokens min_new_tokens early_stopping num_return_sequences
output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values bad_words_ids
suppress_tokens begin_suppress_tokens exponential_decay_length_penalty assistant_confidence_threshold
assistant_lookbehind num_assistant_tokens num_assistant_tokens_schedule target_lookbehind cache_implementation
"""

IRRELEVANT = frozenset(" ".join((_SAVING, _TRAINING, _TOKENIZING, _GENERATING)).split())

# Keys of every config that would change the model if they were set.
COMMON_CONSTRAINTS = (
    Constraint("add_cross_attention", (False, None)),
    Constraint("cross_attention_hidden_size", (None,)),
    Constraint("per_layer_config", (None,)),
    Constraint("pruned_heads", ({}, None)),
    Constraint("tie_encoder_decoder", (False, None)),
)
