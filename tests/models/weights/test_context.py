"""How many tokens a model can read at once."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rlaif.models.weights.context import context_tokens_of, shortest_context


def make_roberta() -> PreTrainedModel:
    return RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=30,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=18,
            pad_token_id=1,
        )
    )


def make_opt() -> PreTrainedModel:
    config = OPTConfig(
        vocab_size=30,
        hidden_size=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=18,
        word_embed_proj_dim=16,
        pad_token_id=1,
    )
    return OPTForCausalLM(config)


def make_gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=18))


@pytest.mark.parametrize(("make", "fits"), [(make_roberta, 16), (make_opt, 18), (make_gpt2, 18)])
def test_learned_positions_hold_as_many_tokens_as_are_said_and_no_more(make: object, fits: int) -> None:
    model = make().eval()  # type: ignore[operator]
    assert context_tokens_of(model) == fits
    model(input_ids=torch.full((1, fits), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, fits + 1), 5))


def test_several_models_read_what_the_shortest_of_them_reads() -> None:
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=30,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=17,
        )
    )
    assert shortest_context([make_gpt2(), llama]) == 17
    assert shortest_context([]) is None
