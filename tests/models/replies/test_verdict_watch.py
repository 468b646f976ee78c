"""A local judge's reply, as its tokens come: where it ends, and where its verdict is read. The model is a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import build_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from rlaif.models.interface import ScoredReply, ScoreRequest
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.replies.verdict_watch import WatchedReply
from rlaif.models.tokens.prompt_tokens import PromptEncoder, choice_token_ids
from rlaif.models.weights.loading import LoadedModel
from rlaif.records import Model, ModelObserved, Segment, SegmentedMessage

REQUEST = ScoreRequest("Verdict:", (" A", " B"), 100)
CHAT = [SegmentedMessage("user", (Segment("Which one?", True),))]
POSITIONS = 192


TOKENIZER = build_tokenizer("chatml")


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(TOKENIZER, stop_token_ids=[TOKENIZER.eos_token_id])


def ids_of(encoder: PromptEncoder, text: str) -> list[int]:
    """The choices behind a marker as the tokens that they are."""
    parts = text.replace(": A", ":\0A").replace(": B", ":\0B").split("\0")
    ids = encoder.encode_trusted(parts[0])
    a_and_b = dict(zip("AB", choice_token_ids(encoder, "Verdict:", (" A", " B")), strict=True))
    for part in parts[1:]:
        ids += [a_and_b[part[0]], *(encoder.encode_trusted(part[1:]) if part[1:] else [])]
    return ids


def judge_that_writes(encoder: PromptEncoder, text: str, *, ends: bool) -> TransformersEngine:
    """A GPT-2 whose next token depends on the place alone."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(TOKENIZER), n_embd=POSITIONS, n_layer=1, n_head=1, n_positions=POSITIONS,
            tie_word_embeddings=False, bos_token_id=0, eos_token_id=TOKENIZER.eos_token_id,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data.zero_()
    model.transformer.wpe.weight.data = torch.eye(POSITIONS)
    model.transformer.ln_f.weight.data.fill_(1.0)
    start = len(encoder.encode(CHAT))
    written = [*ids_of(encoder, text), *([TOKENIZER.eos_token_id] if ends else [])]
    assert start + len(written) < POSITIONS
    filler = encoder.encode_trusted(" so")[-1]
    for place in range(start - 1, POSITIONS):
        at = place - start + 1
        model.lm_head.weight.data[written[at] if at < len(written) else filler, place] = 2.0
    loaded = LoadedModel(
        model.eval(), TOKENIZER, encoder, Model(engine="transformers", weights="w", observed=ModelObserved(name="t")),
        "t", Path("t"),
    )  # fmt: skip
    return TransformersEngine(loaded)


def ask(encoder: PromptEncoder, text: str, *, ends: bool = True, request: ScoreRequest = REQUEST) -> ScoredReply:
    [reply] = judge_that_writes(encoder, text, ends=ends).score([CHAT], request=request)
    return reply


def verdict_of(reply: ScoredReply) -> str | None:
    if reply.failure is not None:
        assert reply.logprobs == ()
        return reply.failure
    return "AB"[reply.logprobs.index(max(reply.logprobs))]


@pytest.mark.parametrize(
    ("text", "verdict", "kept"),
    [
        ("A is kind.\nVerdict: B", "B", "A is kind.\nVerdict:"),
        ("Verdict: A", "A", "Verdict:"),
        ('I end with "Verdict: A" or "Verdict: B" then.\nA is kind.\nVerdict: B', "B", None),
        ('"Verdict: A" or "Verdict: B"\nVerdict: A', "A", None),
        ('I end with "Verdict: A" or "Verdict: B" then.', "unparsable", None),
        ("Verdict: A and B are equally good.", "unparsable", None),
        ("Verdict: A\nVerdict: B\n", "unparsable", None),
        ("Verdict: A or\nB is kind.\nVerdict: B\n\nThanks", "B", "Verdict: A or\nB is kind.\nVerdict:"),
        ("**Verdict:** A\n", "A", "**Verdict:**"),
        ("Verdict: neither", "unparsable", None),
        ("Both are kind.", "unparsable", None),
    ],
)
def test_a_local_judge_is_read_by_the_grammar(
    encoder: PromptEncoder, text: str, verdict: str, kept: str | None
) -> None:
    reply = ask(encoder, text)
    assert verdict_of(reply) == verdict
    assert reply.raw_reply == (kept if kept is not None else reply.raw_reply)


def test_a_judge_that_does_not_end_is_stopped_behind_its_verdict(encoder: PromptEncoder) -> None:
    reply = ask(encoder, "A is kind.\nVerdict: A\nThe", ends=False)
    assert (verdict_of(reply), reply.raw_reply, reply.reason) == ("A", "A is kind.\nVerdict:", "A is kind.")
    assert reply.reply_tokens == len(encoder.encode_trusted("A is kind.\nVerdict:")) + 1


def test_a_verdict_that_is_the_last_to_fit_counts_and_one_that_is_cut_off_does_not(encoder: PromptEncoder) -> None:
    text = "A is kind.\nVerdict:"
    fits = len(encoder.encode_trusted(text))
    request = REQUEST._replace(max_reason_tokens=fits)
    assert verdict_of(ask(encoder, f"{text} A", request=request)) == "A"
    assert verdict_of(ask(encoder, f"{text} A or B", request=request)) == "truncated"
    assert verdict_of(ask(encoder, f"{text} A", request=request._replace(max_reason_tokens=fits - 2))) == "truncated"


@pytest.mark.parametrize("marker", ["Verdict:", "\nVerdict:", "[[", "#### "])
def test_the_next_token_may_be_the_choice_only_behind_a_marker_that_begins_a_line(marker: str) -> None:
    pieces = ["I say ", marker.strip(), " A", "\n", "> ", "1. ", marker.strip(), "**", " A", "\n", "\n"]
    reply = WatchedReply(
        marker=marker, choice_ids=[2], piece=pieces.__getitem__, stop_ids=[],
        max_new_tokens=50,
    )  # fmt: skip
    places = []
    for token in range(len(pieces)):
        reply.append(2 if pieces[token] == " A" else token)
        places += [token] if reply.is_at_choice else []
        if reply.is_over:
            break
    assert places == [6, 7]
