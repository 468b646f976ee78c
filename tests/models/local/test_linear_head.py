"""Which models have a head that can be taken off, and that it comes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from rlaif.models.local.linear_head import extra_column, find_linear_head, replaced_head

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 12}


@pytest.fixture
def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)).eval()


def test_a_llamas_and_a_gpt2s_logits_are_their_heads_output(llama):
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_embd=16, n_layer=1, n_head=2)).eval()
    assert find_linear_head(llama) is llama.lm_head
    assert find_linear_head(gpt2) is gpt2.lm_head


def test_a_model_that_caps_its_logits_has_no_head_to_take_off():
    config = Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.05)
    assert find_linear_head(Gemma2ForCausalLM(config).eval()) is None


def test_the_head_comes_back_after_an_error(llama):
    head = llama.lm_head
    with pytest.raises(RuntimeError), replaced_head(llama, nn.Identity()):
        raise RuntimeError
    assert llama.lm_head is head


def test_a_column_is_read_from_the_hidden_state_beside_unchanged_logits(llama):
    ids, value = torch.tensor([[1, 2, 3]]), nn.Linear(16, 1)
    with torch.no_grad():
        plain = llama(input_ids=ids, output_hidden_states=True)
        with extra_column(llama, value):
            both = llama(input_ids=ids).logits
    assert torch.equal(both[..., :-1], plain.logits)
    torch.testing.assert_close(both[..., -1:], value(plain.hidden_states[-1]))
