"""Patterns of a tokenizer.json that take for ever, and texts that take gigabytes, are bounded."""

import json
import resource
import time

import pytest
from families import build_tokenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from rlaif.errors import ModelError
from rlaif.models.tokens import watched_tokenizer
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.tokens.watched_tokenizer import cut_long
from rlaif.records import Segment, SegmentedMessage


def _split(pattern: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _replace(pattern: dict[str, str], content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": pattern, "content": content}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SLOW = {
    "stars within stars": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [_split(r"(\w+\s?)+$"), BYTES]}},
    "a choice that is none": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [_split(r"(a|a|a)+$"), BYTES]}},
    "a slow replacement": {"normalizer": _replace({"Regex": "(a+)+$"}, "")},
    "replacements that double": {
        "normalizer": {"type": "Sequence", "normalizers": [_replace({"String": "a"}, "aa")] * 40}
    },
    "one long replacement": {"normalizer": _replace({"String": "a"}, "b" * 100_000)},
}  # fmt: skip


def _with(**changed: object) -> PreTrainedTokenizerBase:
    tokenizer = build_tokenizer("chatml")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps({**state, **changed}))
    return tokenizer


def user(text: str) -> list[SegmentedMessage]:
    return [SegmentedMessage("user", (Segment(text, False),))]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return PromptEncoder(tokenizer).encode(user(text))


@pytest.mark.parametrize("name", SLOW)
def test_a_pattern_without_end_is_refused_in_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_tokenizer, "_SECONDS", 0.3)
    start = time.process_time()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        encode(_with(**SLOW[name]), "a" * 200 + "! ")
    assert time.process_time() - start < 5


def test_a_pattern_that_was_stopped_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_tokenizer, "_SECONDS", 0.3)
    encoder = PromptEncoder(_with(**SLOW["stars within stars"]))
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(ModelError, match="does not come to an end"):
            encoder.encode(user(("a" * 21 + "! ") * 500))
        took = time.monotonic() - start
    assert took < 0.2


def test_a_long_text_is_encoded_in_little_memory() -> None:
    encoder = PromptEncoder(build_tokenizer("chatml"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = "polite reply, number 12. " * 45_000
    ids = encoder.encode(user(text))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10  # KiB
    assert encoder.decode(ids).count(text) == 1


@pytest.mark.parametrize("family", ["chatml", "llama2", "llama3", "gemma"])
def test_a_text_that_is_cut_has_the_same_ids(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "When does the museum open?  At nine, 1234 times\n\nor so. " * 40
    whole = encode(build_tokenizer(family), text)
    monkeypatch.setattr(watched_tokenizer, "LONGEST_TEXT", 100)
    monkeypatch.setattr(watched_tokenizer, "_PIECE", 70)
    assert len(list(cut_long(text))) > 20
    assert "".join(cut_long(text)) == text
    assert encode(build_tokenizer(family), text) == whole
