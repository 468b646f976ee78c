"""What both trainings share: the tiny Llama, its optimiser and schedule, and the shipped folder.

A tokenizer and sizes in, a plain LlamaForCausalLM out; a trained one in, a bf16 safetensors folder out.
Knows nothing of replies or verdicts.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

PEAK_LEARNING_RATE = 2e-3
WARM_UP_STEPS = 100


def make_model(tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """Three layers of width 128 with four heads, rotary positions and untied embeddings, freshly drawn."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        # Tied embeddings would break weight replacement in some inference engines' CPU builds.
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


class Schedule:
    """AdamW with warm-up, a cosine to zero and clipped gradients."""

    def __init__(self, model: LlamaForCausalLM, *, num_steps: int, peak: float = PEAK_LEARNING_RATE) -> None:
        self.model = model
        self.num_steps = num_steps
        self.peak = peak
        self.done = 0
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05, foreach=True
        )

    def learning_rate(self) -> float:
        warm = min(1.0, (self.done + 1) / WARM_UP_STEPS)
        return self.peak * warm * 0.5 * (1.0 + math.cos(math.pi * self.done / self.num_steps))

    def step(self, loss: torch.Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"the loss is not finite at step {self.done}")
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path, *, max_new: int) -> None:
    """Write a complete model folder in bf16; other files in the folder stay."""
    copy = LlamaForCausalLM(model.config)  # type: ignore[no-untyped-call]
    copy.load_state_dict(model.state_dict())
    copy = copy.bfloat16()
    copy.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        max_new_tokens=max_new,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-model-", dir=folder) as scratch:
        copy.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        for path in Path(scratch).iterdir():
            path.chmod(0o644)
            path.replace(folder / path.name)
