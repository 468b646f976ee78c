"""Probes: what a judge's answers on pairs of clear contrast say of a principle, and what is refused for it."""

from collections import Counter

import pytest

from rlaif.constitution.principles import PrincipleVocabulary, parse_constitution
from rlaif.constitution.probe import (
    Contradiction,
    PairJudge,
    ProbeAnswer,
    Reading,
    find_contradictions,
    probe_principles,
    read_principle,
    refuse_misread,
)
from rlaif.constitution.probe_file import Probe
from rlaif.errors import ConstitutionError
from rlaif.records import Constitution, Message, Principle
from rlaif.records.constitution import Example

FIRST, SECOND = ProbeAnswer(0.9, flipped=False), ProbeAnswer(0.1, flipped=False)
FLIPPED, TIED = ProbeAnswer(0.6, flipped=True), ProbeAnswer(0.5, flipped=False, tied=True)


def make_probes(n: int, **fields) -> list[Probe]:
    message = (Message(role="user", content="When do you open?"),)
    return [Probe(message, f"At nine, dear visitor {i}.", f"Nine {i}.", **fields) for i in range(n)]


def make_constitution(*principles: str) -> Constitution:
    """Each as YAML fields, on one line from the third."""
    lines = "".join(f"  - {{{fields}}}\n" for fields in principles)
    return parse_constitution(f"name: mine\nprinciples:\n{lines}", where="mine.yaml")


def always(*answers) -> PairJudge:
    """A judge that gives these answers in turn, whatever it is asked."""
    return lambda questions: [answers[place % len(answers)] for place in range(len(questions))]


def read(answers, *, probes=None, tags=()) -> Reading:
    probes = make_probes(len(answers)) if probes is None else probes
    return read_principle(Principle(id="polite", text="Be polite.", tags=tags), probes=probes, answers=answers)


def test_a_verdict_that_stays_with_its_reply_in_both_orders_is_understood():
    reading = read([FIRST, SECOND] * 10)
    assert (reading.num_pairs, reading.num_flipped, reading.undecided) == (20, 0, 0.0)
    assert reading.find_fault() is None


@pytest.mark.parametrize(("num_flipped", "fault"), [(3, None), (4, "flips")])
def test_three_flips_of_twenty_pass_and_four_are_refused(num_flipped, fault):
    reading = read([FLIPPED] * num_flipped + [FIRST] * (20 - num_flipped))
    assert reading.undecided == num_flipped / 20
    assert reading.find_fault() == fault


def test_the_largest_share_of_flips_can_be_set():
    reading = read([FLIPPED] * 4 + [FIRST] * 16)
    assert reading.find_fault(max_flips=0.2) is None
    assert read([FLIPPED] + [FIRST] * 19).find_fault(max_flips=0.0) == "flips"


def test_a_judge_that_calls_clear_contrasts_a_tie_understands_nothing():
    reading = read([TIED] * 20)
    assert (reading.num_flipped, reading.num_tied) == (0, 20)
    assert reading.find_fault() == "flips"


def test_a_failed_pair_is_no_number_and_half_of_them_is_too_many():
    half = read(["truncated"] * 5 + [FIRST] * 5)
    assert (half.num_answered, half.failed, half.undecided) == (5, Counter(truncated=5), 0.0)
    assert half.find_fault() is None
    assert read(["truncated"] * 6 + [FIRST] * 4).find_fault() == "silent"
    assert read(["truncated"] * 10).find_fault() == "silent"


@pytest.mark.parametrize(("num_right", "fault"), [(17, None), (16, "unclear"), (10, "unclear"), (9, "backwards")])
def test_the_expected_reply_has_to_win_17_of_20_and_below_half_it_is_read_backwards(num_right, fault):
    probes = make_probes(20, expected={"polite": "first"})
    reading = read([FIRST] * num_right + [SECOND] * (20 - num_right), probes=probes)
    assert (reading.num_right, reading.num_expected) == (num_right, 20)
    assert reading.find_fault() == fault


def test_a_judge_that_is_backwards_throughout_is_refused_only_thanks_to_the_expected_winner():
    assert read([SECOND] * 20).find_fault() is None
    assert read([SECOND] * 20, probes=make_probes(20, expected={"*": "first"})).find_fault() == "backwards"


def test_a_tag_says_what_is_wanted_before_the_id_and_the_id_before_what_holds_for_all():
    probes = make_probes(10, expected={"*": "first", "polite": "second", "curt": "first"})
    assert read([FIRST] * 10, probes=probes, tags=("curt",)).num_right == 10
    assert read([FIRST] * 10, probes=probes, tags=("unknown",)).num_right == 0
    probes = make_probes(10, expected={"*": "first", "rude": "second"})
    assert read([FIRST] * 10, probes=probes).num_right == 10


def test_where_two_tags_disagree_nobody_knows_the_winner():
    probes = make_probes(10, expected={"a": "first", "b": "second"})
    reading = read([SECOND] * 10, probes=probes, tags=("a", "b"))
    assert (reading.num_expected, reading.find_fault()) == (0, None)


LENGTH = make_probes(10, expected={"polite": "first", "curt": "second"}) + make_probes(
    10, expected={"brief": "second"}, only=("brief",)
)


def test_pairs_made_for_some_principles_count_for_those_alone():
    brief = read([FLIPPED] * 10 + [SECOND] * 10, probes=LENGTH, tags=("brief",))
    assert (brief.places, brief.num_flipped, brief.num_right) == (tuple(range(10, 20)), 0, 10)
    polite = read([FIRST] * 10 + [FLIPPED] * 10, probes=LENGTH)
    assert (polite.places, polite.num_flipped, polite.num_right) == (tuple(range(10)), 0, 10)


def ask_untagged(answers) -> Reading:
    return read_principle(Principle(id="mine", text="Be so."), probes=LENGTH, answers=answers)


def test_a_principle_that_says_nothing_of_what_it_wants_is_told_what_it_is_read_as():
    reading = ask_untagged([SECOND] * 10 + [FLIPPED] * 10)
    assert (reading.read_as, reading.num_expected, reading.num_pairs) == ("curt", 0, 10)
    assert ask_untagged([FIRST, SECOND] * 5 + [FLIPPED] * 10).read_as is None


def test_a_principle_that_says_nothing_may_flip_where_it_is_read_as_what_other_pairs_are_made_for():
    reading = ask_untagged([FLIPPED] * 10 + [SECOND] * 10)
    assert (reading.read_as, reading.find_fault()) == ("brief", None)
    wrong_way = ask_untagged([FLIPPED] * 10 + [FIRST] * 10)
    assert (wrong_way.read_as, wrong_way.find_fault()) == (None, "flips")


def test_every_principle_with_a_weight_is_asked_about_every_pair():
    asked = []

    def judge(questions):
        asked.extend((probe.first, principle.id) for probe, principle in questions)
        return [FIRST if principle.id == "a" else SECOND for _, principle in questions]

    probes = make_probes(8)
    constitution = make_constitution("id: a, text: A", "id: b, text: B, weight: 0", "id: c, text: C")
    a, c = probe_principles(constitution, probes=probes, judge=judge)
    assert asked == [(probe.first, name) for name in "ac" for probe in probes]
    assert (a.decided, c.decided) == (("first",) * 8, ("second",) * 8)


def find_opposites(one, other, *, probes=None) -> list[Contradiction]:
    probes = probes or make_probes(10)
    return find_contradictions(
        [
            read_principle(Principle(id=name, text=name), probes=probes, answers=answers)
            for name, answers in (("one", one), ("other", other))
        ]
    )


def test_principles_that_want_opposite_replies_on_four_pairs_of_five_contradict_each_other():
    [found] = find_opposites([FIRST] * 10, [SECOND] * 8 + [FIRST] * 2)
    assert (found.one.id, found.other.id, found.num_opposite, found.num_pairs) == ("one", "other", 8, 10)
    assert not find_opposites([FIRST] * 10, [SECOND] * 7 + [FIRST] * 3)


def test_what_flips_with_the_order_contradicts_nothing():
    assert not find_opposites([FIRST] * 10, [ProbeAnswer(0.1, flipped=True)] * 10)


def test_principles_are_compared_only_on_pairs_that_contrast_in_both():
    probes = make_probes(10, expected={"one": "first"}) + make_probes(10, expected={"other": "second"}, only=("other",))
    assert not find_opposites([FIRST] * 20, [SECOND] * 20, probes=probes)


def refusal(answer, *principles: str, probes=None, **options) -> str:
    constitution = make_constitution(*(principles or ("id: polite, text: Be polite.",)))
    readings = probe_principles(constitution, probes=probes or make_probes(20), judge=always(*answer))
    with pytest.raises(ConstitutionError) as caught:
        refuse_misread(readings, constitution=constitution, **options)
    assert caught.value.exit_code == 2
    return caught.value.sentence


def test_the_refusal_names_the_principle_the_rate_the_pairs_the_line_and_the_way_out():
    sentence = refusal([FLIPPED, FIRST])
    assert 'does not understand principle "polite"' in sentence
    assert "turns with the order on 10 of 20 probe pairs, 50% where at most 15% may" in sentence
    assert 'constitution "mine", line 3' in sentence
    assert sentence.endswith("word it more plainly, without a negation (--max-flips allows more)")


def test_a_judge_that_knows_a_closed_set_of_wordings_is_quoted_with_the_nearest():
    vocabulary = PrincipleVocabulary(frozenset(), ("Avoid what is long.", "Prefer the polite reply."))
    assert 'the nearest wording that it knows is "Prefer the polite reply."' in refusal(
        [FLIPPED], vocabulary=vocabulary
    )


def test_a_principle_read_backwards_is_refused_with_the_tag_that_says_so_and_what_it_is_read_as():
    probes = make_probes(20, expected={"polite": "first", "curt": "second"})
    sentence = refusal([SECOND], "id: a, text: Be not curt., tags: [polite]", probes=probes)
    assert 'reads principle "a" backwards: the reply that its tag "polite" expects wins 0 of 20 probe pairs' in sentence
    assert 'as if it wanted "curt"' in sentence
    assert 'or correct its tag "polite" if that is what is wrong' in sentence


def test_a_judge_without_verdicts_is_refused_with_the_causes():
    sentence = refusal(["truncated", "truncated", "low_mass"])
    assert "no verdict under principle" in sentence
    assert "on 20 of 20 probe pairs (truncated 14, low_mass 6)" in sentence


def test_the_first_refused_principle_is_explained_and_the_others_are_named():
    sentence = refusal([FLIPPED], "id: a, text: A", "id: b, text: B", "id: c, text: C")
    assert 'understand principle "a"' in sentence
    assert 'refused too: "b", "c"' in sentence


def test_understood_principles_are_not_refused():
    constitution = make_constitution("id: a, text: A")
    readings = probe_principles(constitution, probes=make_probes(20), judge=always(FIRST))
    refuse_misread(readings, constitution=constitution)


# -- a principle's own examples ------------------------------------------------------------------


def with_examples(name: str, *, n: int = 10, weight: float = 1) -> Principle:
    """Its good replies say so; in the first half of the examples they are the longer ones."""
    examples = tuple(
        Example(prompt=f"{name} {i}?", good="good" if 2 * i >= n else "good, and longer", bad="bad words")
        for i in range(n)
    )
    return Principle(id=name, text=f"Be {name}.", weight=weight, examples=examples)


def made_of(*principles: Principle) -> Constitution:
    """A constitution whose source has a line for each principle."""
    lines = "".join(f"  - {{id: {p.id}, text: {p.text}}}\n" for p in principles)
    source = f"name: mine\nprinciples:\n{lines}"
    return Constitution(name="mine", principles=principles, source=source)


def read_good(questions, *, wrong: int = 0) -> list[ProbeAnswer]:
    """Answers of a judge that prefers the good reply, save in the first pairs of each principle."""
    seen: Counter[str] = Counter()
    answers = []
    for probe, principle in questions:
        seen[principle.id] += 1
        is_first = probe.first.startswith("good") == (seen[principle.id] > wrong)
        answers.append(FIRST if is_first else SECOND)
    return answers


def test_a_principle_with_examples_is_asked_about_those_alone_and_no_other_principle_is():
    asked = []

    def judge(questions):
        asked.extend((probe.messages[0].content, principle.id) for probe, principle in questions)
        return read_good(questions)

    constitution = made_of(with_examples("warm"), with_examples("idle", weight=0), with_examples("brief"))
    warm, brief = probe_principles(constitution, probes=[], judge=judge, use_examples=True)
    assert asked == [(f"{name} {i}?", name) for name in ("warm", "brief") for i in range(10)]
    assert [(r.num_right, r.num_expected, r.num_flipped, r.num_longer) for r in (warm, brief)] == [(10, 10, 0, 5)] * 2
    assert (warm.find_fault(), brief.find_fault()) == (None, None)
    assert not set(warm.places) & set(brief.places)


def test_without_examples_to_use_every_principle_is_asked_about_the_pairs_that_are_given():
    constitution = made_of(with_examples("warm"))
    [reading] = probe_principles(constitution, probes=make_probes(8), judge=always(FIRST))
    assert (reading.num_pairs, reading.is_by_examples) == (8, False)


def test_beside_principles_with_examples_one_without_is_asked_about_the_given_pairs():
    constitution = made_of(with_examples("warm"), Principle(id="polite", text="Be polite."), with_examples("brief"))
    probes = make_probes(8, expected={"polite": "first"})

    def judge(questions):
        return [FIRST if p.id == "polite" else read_good([(probe, p)])[0] for probe, p in questions]

    warm, polite, brief = probe_principles(constitution, probes=probes, judge=judge, use_examples=True)
    assert [(r.num_pairs, r.num_right, r.is_by_examples) for r in (warm, polite, brief)] == [
        (10, 10, True), (8, 8, False), (10, 10, True),
    ]  # fmt: skip
    assert not find_contradictions([warm, polite, brief])


def test_a_principle_that_misses_two_of_its_ten_examples_is_refused_and_one_that_misses_one_is_not():
    constitution = made_of(with_examples("warm"))
    for wrong, fault in ((1, None), (2, "unclear"), (6, "backwards")):
        [reading] = probe_principles(
            constitution, probes=[], judge=lambda asked, n=wrong: read_good(asked, wrong=n), use_examples=True
        )
        assert (reading.num_right, reading.find_fault()) == (10 - wrong, fault)


def test_the_refusal_speaks_of_the_principles_examples():
    constitution = made_of(with_examples("warm"))
    readings = probe_principles(
        constitution, probes=[], judge=lambda asked: read_good(asked, wrong=9), use_examples=True
    )
    with pytest.raises(ConstitutionError) as caught:
        refuse_misread(readings, constitution=constitution)
    assert 'reads principle "warm" backwards: the good reply wins 1 of its 10 examples' in caught.value.sentence
    assert "or correct its examples if that is what is wrong" in caught.value.sentence


def test_fewer_than_eight_examples_say_too_little_to_refuse_a_principle():
    constitution = made_of(with_examples("warm", n=7))
    [reading] = probe_principles(constitution, probes=[], judge=always(FLIPPED), use_examples=True)
    assert (reading.num_flipped, reading.is_too_small, reading.find_fault()) == (7, True, None)
