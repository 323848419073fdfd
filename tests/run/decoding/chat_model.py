"""A tiny random llama in a folder, with a tokenizer that has a chat template."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from tests.text.sample_tokenizers import saved

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def save_chat_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    """The folder, with a model of random weights and a byte-level tokenizer in it."""
    more = {} if template is None else {"chat_template": template}
    saved("byte-level", folder, **more)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=420, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder
