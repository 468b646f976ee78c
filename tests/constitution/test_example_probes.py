"""A principle's examples as probe pairs: which reply should win, and where it stands."""

import pytest

from rlaif.constitution.example_probes import draw_example_probes
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.shipped import known_names
from rlaif.records import Principle
from rlaif.records.constitution import Example

EXAMPLES = tuple(Example(prompt=f"How, {i}?", good=f"good {i}", bad=f"bad {i}") for i in range(9))


def draw(examples=EXAMPLES):
    return draw_example_probes(Principle(id="warm", text="Be warm.", examples=examples))


def test_each_example_is_a_pair_for_its_principle_whose_good_reply_should_win():
    probes = draw()
    assert [probe.messages[0].content for probe in probes] == [example.prompt for example in EXAMPLES]
    for probe, example in zip(probes, EXAMPLES, strict=True):
        winner = probe.winner_for(("warm",))
        assert (probe.first if winner == "first" else probe.second) == example.good
        assert {probe.first, probe.second} == {example.good, example.bad}
        assert probe.only == ("warm",)


def test_the_good_reply_stands_first_in_half_of_the_pairs_whatever_their_order():
    probes = draw()
    assert sum(probe.winner_for(("warm",)) == "first" for probe in probes) == 5
    assert {probe.first for probe in draw(EXAMPLES[::-1])} == {probe.first for probe in probes}
    assert draw(()) == []


@pytest.mark.parametrize("name", [name for name in known_names("constitutions", ".yaml") if "/" not in name])
def test_a_judge_that_always_takes_the_first_reply_is_right_on_half_of_the_shipped_examples(name):
    for principle in load_constitution(name).principles:
        probes = draw_example_probes(principle)
        assert 2 * sum(probe.winner_for((principle.id,)) == "first" for probe in probes) == len(probes)
