from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from families import CHAT_FAMILIES, FAMILIES
from torch import nn

from rlaif.errors import ModelError
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Message, Prompt
from rlaif.reward_model.data import encode_example
from rlaif.reward_model.model import compute_rewards, find_head, find_pad_token_id, make_reward_model

LoadFamily = Callable[[str], LoadedModel]
PROMPT = Prompt(messages=(Message(role="user", content="When does the museum open?"),))
RESPONSES = ("At nine.", "No.", "The museum opens at nine and closes at five, and so on.", "polite")


def sequences_of(loaded: LoadedModel) -> list[tuple[int, ...]]:
    return [encode_example(PROMPT, response, encoder=loaded.encoder) for response in RESPONSES]


@pytest.mark.parametrize("family", CHAT_FAMILIES)
def test_rewards_are_those_of_transformers_classifier_alone_and_padded(family: str, load_family: LoadFamily) -> None:
    loaded = load_family(family)
    model = make_reward_model(loaded, seed=0)
    sequences = sequences_of(loaded)
    with torch.no_grad():
        ours = compute_rewards(model, sequences)
        alone = torch.cat([model(input_ids=torch.tensor([sequence])).logits[:, 0] for sequence in sequences])
        width = max(map(len, sequences))
        pad = model.config.pad_token_id
        padded = torch.tensor([[*s, *([pad] * (width - len(s)))] for s in sequences])
        mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences])
        together = model(input_ids=padded, attention_mask=mask).logits[:, 0]
    torch.testing.assert_close(ours, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", CHAT_FAMILIES)
def test_padding_is_a_token_that_never_ends_a_response(family: str, load_family: LoadFamily) -> None:
    loaded = load_family(family)
    assert find_pad_token_id(loaded) not in (None, *loaded.encoder.stop_token_ids)


def test_a_tokenizer_whose_only_special_token_is_eos_gives_the_same_rewards_and_refuses_padded_batches(
    load_family: LoadFamily,
) -> None:
    """Elsewhere pad is then set to EOS, and the score is read one token early."""
    loaded = load_family("byte_bpe_no_template")
    model = make_reward_model(loaded, seed=0)
    assert model.config.pad_token_id is None
    sequences = sequences_of(loaded)
    with torch.no_grad():
        alone = torch.cat([model(input_ids=torch.tensor([sequence])).logits[:, 0] for sequence in sequences])
        torch.testing.assert_close(compute_rewards(model, sequences), alone, atol=1e-5, rtol=0)
        with pytest.raises(ValueError, match="padding token"):
            model(input_ids=torch.zeros(2, 3, dtype=torch.long))


def test_the_read_out_does_not_depend_on_which_token_pads(load_family: LoadFamily) -> None:
    loaded = load_family("llama3")
    model = make_reward_model(loaded, seed=0)
    sequences = sequences_of(loaded)
    with torch.no_grad():
        distinct = compute_rewards(model, sequences)
        model.config.pad_token_id = loaded.encoder.end_token_id
        assert torch.equal(compute_rewards(model, sequences), distinct)


def test_the_reward_is_the_heads_output_at_the_last_token(load_family: LoadFamily) -> None:
    loaded = load_family("llama3")
    model = make_reward_model(loaded, seed=0)
    [sequence] = sequences_of(loaded)[:1]
    head = find_head(model, where="")
    with torch.no_grad():
        hidden = model.base_model(input_ids=torch.tensor([sequence])).last_hidden_state
        by_hand = (hidden[0, -1] * head.weight[0]).sum()
        torch.testing.assert_close(compute_rewards(model, [sequence])[0], by_hand)


def test_no_sequences_have_no_rewards(load_family: LoadFamily) -> None:
    assert compute_rewards(make_reward_model(load_family("llama3"), seed=0), []).shape == (0,)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trunk_is_the_bases_and_the_base_is_left_alone(family: str, load_family: LoadFamily) -> None:
    loaded = load_family(family)
    before = copy.deepcopy(loaded.model.state_dict())
    num_labels, pad = loaded.model.config.num_labels, loaded.model.config.pad_token_id
    model = make_reward_model(loaded, seed=0)
    trunk = model.base_model.state_dict()
    for name, value in loaded.model.base_model.state_dict().items():
        assert torch.equal(trunk[name], value), name
        assert trunk[name].data_ptr() != value.data_ptr(), name
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    assert (loaded.model.config.num_labels, loaded.model.config.pad_token_id) == (num_labels, pad)


def test_the_head_is_drawn_by_seed_with_the_right_spread_and_moves_no_other_draw(
    load_family: LoadFamily,
) -> None:
    loaded = load_family("llama3")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    heads = [find_head(make_reward_model(loaded, seed=seed), where="").weight for seed in range(40)]
    assert torch.equal(torch.rand(3), expected)
    again = find_head(make_reward_model(loaded, seed=0), where="")
    assert torch.equal(again.weight, heads[0])
    assert again.bias is None
    # 40 heads of width 32: N(0, 1/33), sd .174 with a standard error of .0034.
    assert torch.cat(heads).std().item() == pytest.approx(33**-0.5, abs=0.012)


def test_dropout_is_off_while_gradients_are_on(load_family: LoadFamily) -> None:
    loaded = load_family("byte_bpe_no_template")
    assert loaded.model.config.resid_pdrop > 0
    model = make_reward_model(loaded, seed=0)
    sequences = sequences_of(loaded)
    first, second = compute_rewards(model, sequences), compute_rewards(model, sequences)
    assert first.requires_grad
    assert torch.equal(first, second)


def test_a_model_without_a_scalar_head_is_refused(load_family: LoadFamily) -> None:
    model = make_reward_model(load_family("llama3"), seed=0)
    model.score = nn.Linear(32, 2)
    with pytest.raises(ModelError, match="no scalar head"):
        compute_rewards(model, [(1, 2)])
