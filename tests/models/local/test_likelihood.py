"""Log-likelihoods of given responses: those of plain passes, whatever is shared, batched or cut off."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from families import CHAT_FAMILIES, build_family

from rlaif.models.interface import LIKELIHOODS
from rlaif.models.local import likelihood
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.readings import CUT_OFF, WHOLE, count_read, split_readings
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.records import Segment, SegmentedMessage
from rlaif.records.prompt import ResponseRole, Role

Chat = tuple[SegmentedMessage, ...]


def message(role: Role | ResponseRole, text: str, *, trusted: bool = False) -> SegmentedMessage:
    return SegmentedMessage(role, (Segment(text, trusted),))


def question(
    prompt: str, response: str, *, systems: Sequence[str] = ("Be kind.", "Be curt."), whole: bool = True
) -> Chat:
    said = message(WHOLE if whole else CUT_OFF, response)
    return tuple(
        part
        for system in systems
        for part in (*([message("system", system, trusted=True)] if system else []), message("user", prompt), said)
    )


QUESTIONS = [
    question("When does the museum open?", "It opens at nine."),
    question("When does the museum open?", "It opens at nine and closes at five."),
    question("When does the museum open?", "Hello there, how can I help you today?", whole=False),
    question("Hello", "Hi!", systems=("Be kind.", "")),
]


def load(family: str, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_causal_lm(str(build_family(family, tmp_path_factory.mktemp(family))))


@pytest.fixture(scope="module", params=CHAT_FAMILIES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(request.param, tmp_path_factory)


@torch.no_grad()
def by_plain_passes(loaded: LoadedModel, chat: Chat) -> list[float]:
    """Each reading in a pass of its own, its log-probabilities added up in a loop."""
    sums = []
    for reading in split_readings(chat):
        prompt, response = loaded.encoder.encode(reading.chat), loaded.encoder.encode_response(reading.response)
        response = response if reading.is_whole else response[:-1]
        logprobs = loaded.model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].log_softmax(dim=-1)
        places = range(len(prompt) - 1, len(prompt) + len(response) - 1)
        sums.append(sum(float(logprobs[at, token]) for at, token in zip(places, response, strict=True)))
    return sums


def test_likelihoods_are_those_of_plain_passes_in_every_family(loaded):
    replies = TransformersEngine(loaded).score(QUESTIONS, request=LIKELIHOODS)
    for chat, reply in zip(QUESTIONS, replies, strict=True):
        assert reply.failure is None
        assert reply.likelihoods == pytest.approx(by_plain_passes(loaded, chat), abs=2e-4)


def test_a_model_that_shares_no_beginnings_gives_the_same(loaded, monkeypatch):
    shared = TransformersEngine(loaded).score(QUESTIONS, request=LIKELIHOODS)
    monkeypatch.setattr(likelihood, "can_share", lambda *_, **__: False)
    plain = TransformersEngine(loaded).score(QUESTIONS, request=LIKELIHOODS)
    monkeypatch.setattr(likelihood, "find_linear_head", lambda _: None)  # its logits are taken as they come
    whole_logits = TransformersEngine(loaded).score(QUESTIONS, request=LIKELIHOODS)
    for one, other, third in zip(shared, plain, whole_logits, strict=True):
        assert one.likelihoods == pytest.approx(other.likelihoods, abs=2e-4)
        assert other.likelihoods == pytest.approx(third.likelihoods, abs=2e-4)


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load("chatml", tmp_path_factory)


def test_a_whole_response_has_one_token_more_than_a_cut_off_one(chatml):
    whole, cut = TransformersEngine(chatml).score(
        [question("Hello", "hi there", whole=is_whole) for is_whole in (True, False)], request=LIKELIHOODS
    )
    assert whole.response_tokens == cut.response_tokens + 1
    assert all(a < b for a, b in zip(whole.likelihoods, cut.likelihoods, strict=True)), "the end adds a log-probability"


def test_a_response_of_no_tokens_and_one_beyond_the_context_are_named_failures(chatml):
    engine = TransformersEngine(chatml)
    chats = [question("Hello", "", whole=False), question("Hello", "hi " * 5000), QUESTIONS[0]]
    empty, too_long, fine = engine.score(chats, request=LIKELIHOODS)
    assert (empty.failure, empty.likelihoods) == ("empty", ())
    assert (too_long.failure, too_long.likelihoods) == ("over_length", ())
    assert fine.likelihoods == engine.score([QUESTIONS[0]], request=LIKELIHOODS)[0].likelihoods


def test_a_control_string_in_a_response_is_read_as_text(chatml):
    [reply] = TransformersEngine(chatml).score([question("Hello", "hi<|im_end|>")], request=LIKELIHOODS)
    assert reply.response_tokens > len(chatml.encoder.encode_response("hi")) + 1


def test_tokens_of_a_question_are_counted_over_both_readings(chatml):
    engine = TransformersEngine(chatml)
    [reply] = engine.score([QUESTIONS[1]], request=LIKELIHOODS)
    assert 0 <= reply.prompt_tokens - count_read(engine.count_tokens, QUESTIONS[1]) <= 2, "the two ending tokens"
    plain = (message("user", "Hello"),)
    assert count_read(engine.count_tokens, plain) == engine.count_tokens(plain)
