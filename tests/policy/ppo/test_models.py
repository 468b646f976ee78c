"""The shared-prompt forward pass against one plain forward pass per sequence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rlaif.models.local.decode import decode, row_uniforms
from rlaif.policy.ppo.batching import TokenSequence, pad_batch
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.passes import compute_logprobs

# two prompts with several responses, prompts and responses of different lengths, one of a single token
SEQUENCES = [
    TokenSequence([1, 2, 3], [4, 5, 6, 7]),
    TokenSequence([8, 9], [15]),
    TokenSequence([1, 2, 3], [15]),
    TokenSequence([8, 9], [3, 15, 15, 2, 2, 2, 1, 1, 1, 4, 4]),
    TokenSequence([1, 2, 3], [0, 0]),
    TokenSequence([11], [12, 13]),
]


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel
    if request.param == "gpt2":  # absolute positions: a wrong position id shows
        model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=32, n_layer=2, n_head=2, n_positions=32))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=16,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=32,
                tie_word_embeddings=True,
            )
        )
    for parameter in model.parameters():
        parameter.data *= 3
    return model.eval()


def plain(learner: PolicyWithValue, *, temperature: float) -> tuple[list[Tensor], list[Tensor]]:
    logprobs, values = [], []
    for prompt_ids, response_ids in SEQUENCES:
        out = learner.model(input_ids=torch.tensor([prompt_ids + response_ids]), output_hidden_states=True)
        predicting = slice(len(prompt_ids) - 1, -1)
        table = torch.log_softmax(out.logits[0, predicting] / temperature, dim=-1)
        logprobs.append(table.gather(1, torch.tensor(response_ids)[:, None]).squeeze(1))
        values.append(learner.value_head(out.hidden_states[-1][0, predicting]).squeeze(-1))
    return logprobs, values


def test_logprobs_values_and_gradients_are_those_of_plain_forward_passes(model: PreTrainedModel) -> None:
    learner = PolicyWithValue(model)
    torch.nn.init.normal_(learner.value_head.weight)
    batch = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
    shared = learner(batch, temperature=0.7)
    logprobs, values = (torch.cat(parts) for parts in plain(learner, temperature=0.7))
    mask = batch.response_mask
    torch.testing.assert_close(shared.logprobs[mask], logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(shared.values[mask], values, atol=1e-5, rtol=1e-5)

    weights = torch.randn(len(logprobs))
    parameters = list(learner.parameters())
    expected = torch.autograd.grad((weights * (logprobs + values)).sum(), parameters)
    found = torch.autograd.grad((weights * (shared.logprobs + shared.values)[mask]).sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.abs().max()), rtol=0)


def test_the_references_logprobs_are_those_of_the_policy_it_is_a_copy_of(model: PreTrainedModel) -> None:
    learner = PolicyWithValue(model)
    batch = pad_batch(SEQUENCES, pad_id=14, device=torch.device("cpu"))
    assert torch.equal(compute_logprobs(model, batch, temperature=0.7), learner(batch, temperature=0.7).logprobs)


def test_entropy_is_that_of_the_next_token_distribution(model: PreTrainedModel) -> None:
    batch = pad_batch([TokenSequence([1, 2], [5])], pad_id=14, device=torch.device("cpu"))
    entropy = PolicyWithValue(model)(batch, temperature=0.7).entropy
    with torch.no_grad():
        probs = torch.softmax(model(input_ids=torch.tensor([[1, 2]])).logits[0, -1] / 0.7, dim=-1)
    assert float(entropy[0, 0]) == pytest.approx(float(-(probs * probs.log()).sum()), abs=1e-5)


@pytest.mark.parametrize("worth_sharing", [0.0, 2.0], ids=["prompts apart", "whole sequences"])
def test_both_ways_of_running_prompts_give_the_same(
    model: PreTrainedModel, worth_sharing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.policy.ppo.passes.WORTH_SHARING", worth_sharing)
    test_logprobs_values_and_gradients_are_those_of_plain_forward_passes(model)


def test_what_the_decode_pass_says_of_its_tokens_is_what_a_training_pass_says(model: PreTrainedModel) -> None:
    learner = PolicyWithValue(model)
    torch.nn.init.normal_(learner.value_head.weight)
    prompts = [[1, 2, 3], [1, 2, 3], [8, 9, 4, 4, 5, 6], [11]]
    drawn = decode(
        model, prompts, max_new_tokens=9, temperature=0.7, uniforms=row_uniforms([(0, i) for i in range(4)], 9),
        stop_ids=(15,), pad_id=14, value_head=learner.value_head,
    )  # fmt: skip
    sequences = [TokenSequence(*both) for both in zip(prompts, drawn.token_ids, strict=True)]
    batch = pad_batch(sequences, pad_id=14, device=torch.device("cpu"))
    with torch.no_grad():
        found = learner(batch, temperature=0.7)
    for name, rows in (("logprobs", drawn.logprobs), ("values", drawn.values), ("entropy", drawn.entropies)):
        flat = torch.tensor([number for row in rows for number in row])
        torch.testing.assert_close(getattr(found, name)[batch.response_mask], flat, atol=2e-5, rtol=1e-5)
