from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlaif.errors import DataError
from rlaif.models.weights.loading import LoadedModel, load_reward_model
from rlaif.models.weights.saving import write_model
from rlaif.records import Message, Prompt
from rlaif.reward_model.model import make_reward_model, with_pad_token
from rlaif.reward_model.score import RewardModelScorer

LoadFamily = Callable[[str], LoadedModel]
EXAMPLES = [
    (Prompt(messages=(Message(role="user", content=question),)), response)
    for question in (
        "When?",
        "When does the museum open, and when does it close on the days before holidays?",
    )
    for response in ("", "Nine.", "The museum opens at nine and closes at five. " * 5, "<|eot_id|> hello")
]


@pytest.fixture
def load_scorer(load_family: LoadFamily, tmp_path: Path) -> Callable[[str], RewardModelScorer]:
    def load(family: str) -> RewardModelScorer:
        base = load_family(family)
        model = make_reward_model(base, seed=0)
        folder = tmp_path / family
        folder.mkdir()
        write_model(model, with_pad_token(base.tokenizer, model.config.pad_token_id), folder)
        return RewardModelScorer(load_reward_model(str(folder), device="cpu"))

    return load


@pytest.mark.parametrize("family", ["chatml", "llama2", "llama3", "gemma", "mistral"])
def test_neither_padding_nor_order_nor_company_changes_a_reward(
    family: str, load_scorer: Callable[[str], RewardModelScorer]
) -> None:
    scorer = load_scorer(family)
    together = scorer.score(EXAMPLES)
    alone = [scorer.score([example])[0] for example in EXAMPLES]
    assert together == pytest.approx(alone, abs=1e-5)
    places = list(range(len(EXAMPLES)))
    random.Random(0).shuffle(places)
    shuffled = scorer.score([EXAMPLES[place] for place in places])
    assert shuffled == pytest.approx([alone[place] for place in places], abs=1e-5)
    assert len({round(reward, 4) for reward in alone}) == len(EXAMPLES)


def test_a_response_that_does_not_fit_is_a_named_failure_and_the_others_are_scored(
    load_scorer: Callable[[str], RewardModelScorer],
) -> None:
    scorer = load_scorer("llama3")
    examples = [EXAMPLES[1], (EXAMPLES[1][0], "nine " * 600), EXAMPLES[2]]
    first, too_long, last = scorer.score_each(examples)
    assert too_long == "over_length"
    assert [first, last] == pytest.approx(scorer.score([EXAMPLES[1], EXAMPLES[2]]), abs=1e-5)
    with pytest.raises(DataError, match="response 2 of 3 cannot be scored: over length"):
        scorer.score(examples)


def test_a_reward_that_is_not_finite_is_a_named_failure(load_family: LoadFamily) -> None:
    base = load_family("llama3")
    model = make_reward_model(base, seed=0)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    scorer = RewardModelScorer(base._replace(model=model))
    assert scorer.score_each(EXAMPLES[:2]) == ["non_finite", "non_finite"]


def test_no_responses_have_no_rewards(load_scorer: Callable[[str], RewardModelScorer]) -> None:
    assert load_scorer("llama3").score([]) == []


@pytest.mark.parametrize("family", ["byte_bpe_no_template", "chatml", "llama2", "llama3", "gemma", "mistral"])
def test_somebody_elses_reward_model_scores_the_text_as_it_does_by_itself(
    family: str, load_family: LoadFamily, tmp_path: Path
) -> None:
    """Whatever the policy's tokenizer: what is scored is text, by the model's own template and tokenizer."""
    base = load_family(family)
    model = make_reward_model(base, seed=0)
    write_model(model, with_pad_token(base.tokenizer, model.config.pad_token_id), tmp_path)
    scorer = RewardModelScorer(load_reward_model(str(tmp_path), device="cpu"), reads_whole=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    examples = [
        (Prompt(messages=(Message(role="user", content=question),)), response)
        for question in ("When?", "When does the museum open?")
        for response in ("Nine.", "It opens at nine and closes at five.")
    ]
    expected = []
    for prompt, response in examples:
        chat = [*prompt.as_chat(), {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            expected.append(float(alone(ids, attention_mask=torch.ones_like(ids)).logits[0, 0]))
    assert scorer.score(examples) == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 4) for score in expected}) > 1, "the model tells the responses apart"


@pytest.mark.parametrize("family", ["byte_bpe_no_template", "chatml", "llama2", "llama3", "gemma", "mistral"])
def test_a_response_of_the_policy_survives_the_way_into_the_reward_models_tokens(
    family: str, load_family: LoadFamily
) -> None:
    reader = load_family("llama3" if family != "llama3" else "gemma").encoder
    writer = load_family(family).encoder
    for text in ("The museum opens at nine.", "Reply A is polite", "two words"):
        response = writer.decode(writer.encode_response(text)[:-1])  # as PPO hands it over
        assert response == text
        assert reader.decode(reader.encode_response(response)[:-1]) == text
