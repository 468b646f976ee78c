"""The shipped constitutions in ordinary English: each of their principles can be contrasted and probed."""

import re
from collections import Counter
from pathlib import Path

import pytest

from rlaif.config.evaluation import BUILT_IN_MEASURES
from rlaif.constitution.principles import PRINCIPLE_KEYS, load_constitution, parse_constitution
from rlaif.constitution.probe_file import MIN_PROBES
from rlaif.constitution.shipped import known_names
from rlaif.evaluation.measures import find_wanted
from rlaif.records import Principle

NAMES = [name for name in known_names("constitutions", ".yaml") if "/" not in name]
PAGE = Path(__file__).parents[2] / "docs" / "constitutions.md"
SHORT = {"brief", "to_the_point"}
"""Principles that ask for few words: their good replies are the shorter ones."""


def principles_of(name: str) -> tuple[Principle, ...]:
    return load_constitution(name).principles


def test_the_constitutions_for_judges_of_ordinary_english_are_there():
    assert NAMES == [
        "brief", "careful_advice", "concise", "formal", "harmless", "helpful", "honest", "no_sycophancy", "warm",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_principle_names_its_opposite_in_words_of_its_own(name):
    for principle in principles_of(name):
        words, opposite = (set(text.lower().split()) for text in (principle.text, principle.opposite))
        assert opposite, principle.id
        assert len(words & opposite) <= 0.6 * len(words), principle.id


@pytest.mark.parametrize("name", NAMES)
def test_every_principle_has_enough_examples_to_be_probed(name):
    assert all(len(principle.examples) >= MIN_PROBES for principle in principles_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_good_reply_is_the_longer_one_in_half_of_the_examples(name):
    for principle in principles_of(name):
        wanted = 0 if principle.id in SHORT else len(principle.examples) / 2
        assert sum(len(e.good) > len(e.bad) for e in principle.examples) == wanted, principle.id
        assert sum(len(e.good.split()) > len(e.bad.split()) for e in principle.examples) == wanted, principle.id


def test_a_tag_names_a_built_in_measure_that_the_principle_should_move():
    tags = {principle.id: principle.tags for name in NAMES for principle in principles_of(name) if principle.tags}
    assert tags == {
        "brief": ("-words",), "to_the_point": ("-words",), "formal": ("-contractions",), "warm": ("sentiment",),
    }  # fmt: skip
    assert all(find_wanted(tag, BUILT_IN_MEASURES) for (tag,) in tags.values())


def test_no_prompt_and_no_reply_stands_twice():
    examples = [example for name in NAMES for principle in principles_of(name) for example in principle.examples]
    assert max(Counter(example.prompt for example in examples).values()) == 1
    assert max(Counter(reply for example in examples for reply in (example.good, example.bad)).values()) == 1


def test_the_page_lists_every_constitution_and_every_key_of_a_principle_and_its_example_is_a_principle_file():
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"(../constitutions/{name}.yaml)" not in page] == []
    assert [key for key in PRINCIPLE_KEYS if f"| `{key}` |" not in page] == []
    [source] = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    [principle] = parse_constitution(source, where="page").principles
    assert (principle.text, principle.opposite) == (
        load_constitution("warm").principles[0].text,
        load_constitution("warm").principles[0].opposite,
    )
