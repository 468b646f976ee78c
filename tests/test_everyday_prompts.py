"""The prompts of examples/real-model: enough, everyday, and no two alike."""

from __future__ import annotations

import re
from pathlib import Path

from rlaif.config.generate import PromptsConfig
from rlaif.sampling.prompts import read_prompts

PATH = Path(__file__).parents[1] / "examples" / "real-model" / "prompts.jsonl"


def read_texts() -> list[str]:
    read = read_prompts(PromptsConfig(path=str(PATH), num_prompts=100_000))
    assert read.tally.dropped == {}
    assert all([message.role for message in prompt.messages] == ["user"] for prompt in read.prompts)
    return [prompt.messages[0].content for prompt in read.prompts]


def test_at_least_560_prompts_of_4_to_40_words_are_read():
    texts = read_texts()
    assert len(texts) >= 560
    assert all(4 <= len(text.split()) <= 40 for text in texts)


def test_no_two_prompts_share_more_than_60_percent_of_their_words():
    texts = read_texts()
    words = [frozenset(re.findall(r"[a-z0-9'-]+", text.lower())) for text in texts]
    alike = [
        (texts[i], texts[j])
        for i, first in enumerate(words)
        for j, second in enumerate(words[:i])
        if len(first & second) > 0.6 * len(first | second)
    ]
    assert alike == []


def test_prompts_are_questions_requests_and_statements():
    texts = read_texts()
    ends = [text[-1] for text in texts]
    assert 0.4 * len(texts) < ends.count("?") < 0.8 * len(texts)
    assert len({" ".join(text.split()[:2]).lower() for text in texts}) > 0.35 * len(texts), "openings vary"
