"""The shipped probes: what they contrast, and how far they tell what the shipped judge understands."""

from __future__ import annotations

import json
import random
import re
from functools import lru_cache

import pytest
import torch

from rlaif.config.generate import JudgeConfig
from rlaif.constitution.principles import load_constitution, load_vocabulary
from rlaif.constitution.probe import PairJudge, ProbeAnswer, find_contradictions, probe_principles, read_principle
from rlaif.constitution.probe_file import PROBE_FILE, Probe, load_probes
from rlaif.constitution.render import load_template
from rlaif.constitution.shipped import known_names
from rlaif.frontdesk import JUDGE_DIR, make_probes, truth
from rlaif.frontdesk.ask import load_folder
from rlaif.frontdesk.judge_text import PAIR_TEMPLATE
from rlaif.frontdesk.probe_quality import check_wording, draw_clear_pairs, probe_table, summarise
from rlaif.frontdesk.probe_wordings import LISTS, Intended, make_list
from rlaif.frontdesk.wordings import find_wording
from rlaif.frontdesk.world import PLACES, draw_scene, is_held_out, read_facts
from rlaif.judging.ask_now import make_probe_judge
from rlaif.models.interface import ScoredReply
from rlaif.models.local.engine import TransformersEngine
from rlaif.records import Principle

PROBES = load_probes(JUDGE_DIR / PROBE_FILE)
GENERAL = [probe for probe in PROBES if not probe.only]


def chat(probe: Probe) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in probe.messages]


def lengths(probe: Probe) -> tuple[int, int]:
    return truth.count_words(probe.first), truth.count_words(probe.second)


def test_every_expected_winner_wins_by_two_steps_of_the_truth_or_more() -> None:
    for probe in PROBES:
        first, second = (truth.measure(chat(probe), text) for text in (probe.first, probe.second))
        for name, winner in probe.expected.items():
            gap = first[name] - second[name]
            assert (gap if winner == "first" else -gap) >= 50, (probe, name)


def test_general_pairs_contrast_clearly_in_all_attributes_and_hardly_in_length() -> None:
    names = set(truth.measure([], "")) - {"brief", "detailed"}
    assert len(GENERAL) == 48
    for probe in GENERAL:
        assert set(probe.expected) == names
        assert abs(lengths(probe)[0] - lengths(probe)[1]) <= 2


def test_no_two_measures_have_the_same_winners_so_that_no_reading_passes_for_another() -> None:
    names = sorted(GENERAL[0].expected)
    for one in names:
        for other in names:
            same = sum(probe.expected[one] == probe.expected[other] for probe in GENERAL)
            opposite = truth.OPPOSITES.get(one, "") == other or truth.OPPOSITES.get(other, "") == one
            assert same == (48 if one == other else 0 if opposite else 24), (one, other)


def test_the_pairs_of_different_length_are_for_brevity_alone_and_decide_it_both_ways() -> None:
    by_only = {only: [p for p in PROBES if p.only == only] for only in {p.only for p in PROBES if p.only}}
    assert {only: len(found) for only, found in by_only.items()} == {("brief", "detailed"): 16, ("detailed",): 24}
    assert all(min(lengths(p)) <= 13 and max(lengths(p)) >= 30 for p in by_only["brief", "detailed"])
    assert all(abs(lengths(p)[0] - lengths(p)[1]) == 6 for p in by_only["detailed",])


def test_the_probes_prompts_were_held_out_of_every_training() -> None:
    for probe in PROBES:
        facts = read_facts(chat(probe))
        place = next(name for name in PLACES if name in chat(probe)[-1]["content"].split("?")[0].split())
        assert facts.topic is not None
        scene = draw_scene(random.Random(0))._replace(place=place, topic=facts.topic, **facts.values)
        assert is_held_out(scene)


def test_the_shipped_file_holds_what_the_script_draws() -> None:
    rng = random.Random(f"frontdesk probes {make_probes.SEED}")
    has = next(make_probes.design())
    row = make_probes.make_row(make_probes.draw_general(has, rng=rng), one_has=has, rng=rng)
    assert json.loads((JUDGE_DIR / PROBE_FILE).read_text(encoding="utf-8").splitlines()[0]) == json.loads(
        json.dumps(row)
    )


@pytest.mark.parametrize("name", LISTS)
def test_the_lists_hold_known_words_only_and_new_wordings_where_they_should(name: str) -> None:
    vocabulary = load_vocabulary(JUDGE_DIR)
    assert vocabulary is not None
    known = vocabulary.words.union(word for wording in vocabulary.wordings for word in re.findall(r"\w+", wording))
    for wording in make_list(name, seed=0):
        assert set(re.findall(r"\w+", wording.text)) <= known, wording
        assert (find_wording(wording.text) is not None) == (name in ("trained", "held out")), wording


@lru_cache(maxsize=1)
def shipped_engine() -> TransformersEngine:
    torch.set_num_threads(1)
    return load_folder(JUDGE_DIR)


def shipped_judge() -> PairJudge:
    return make_probe_judge(shipped_engine(), template=load_template(PAIR_TEMPLATE), config=JudgeConfig())


def test_wordings_that_the_judge_understands_pass_with_their_meaning_declared_and_without() -> None:
    clear = draw_clear_pairs(seed=1, per_attribute=4)
    wordings = make_list("held out", seed=1, per_meaning=1)
    rows = [check_wording(wording, probes=PROBES, clear=clear, judge=shipped_judge()) for wording in wordings]
    figures = summarise(rows)
    assert figures.n == 16
    assert figures.passed_declared >= 0.95
    assert figures.passed_undeclared >= 0.93  # one of sixteen may miss where nothing says what it wants
    assert [row.read_as for row in rows if row.undeclared is None] == [
        row.wording.wanted for row in rows if row.undeclared is None
    ]


def test_double_negations_are_read_backwards_without_a_flip_and_refused_where_their_meaning_is_declared() -> None:
    clear = draw_clear_pairs(seed=1, per_attribute=8)
    wordings = make_list("doubly negated", seed=0, per_meaning=1)[:4]
    rows = [check_wording(wording, probes=PROBES, clear=clear, judge=shipped_judge()) for wording in wordings]
    assert any(not row.is_right for row in rows)  # else the list shows nothing
    for row in rows:
        assert (row.declared is None) == row.is_right, row
        assert row.undeclared is None or row.is_right, row


def test_the_front_desks_constitutions_are_read_as_their_tags_say_and_contradict_themselves_nowhere() -> None:
    names = [name for name in known_names("constitutions", ".yaml") if name.startswith("frontdesk/")]
    constitutions = [load_constitution(name) for name in names]
    asked = {principle.text: principle for constitution in constitutions for principle in constitution.principles}
    everything = constitutions[0].model_copy(update={"principles": tuple(asked.values())})
    readings = probe_principles(everything, probes=PROBES, judge=shipped_judge())
    assert [(r.find_fault(), r.read_as) for r in readings] == [(None, r.principle.tags[0]) for r in readings]
    by_text = {reading.principle.text: reading for reading in readings}
    for constitution in constitutions:
        assert not find_contradictions([by_text[principle.text] for principle in constitution.principles])
    assert find_contradictions(readings)  # courteous and curt are among them


class Backwards:
    """The shipped judge with its verdicts turned round."""

    def count_tokens(self, chat):  # type: ignore[no-untyped-def]
        return shipped_engine().count_tokens(chat)

    def score(self, chats, *, request):  # type: ignore[no-untyped-def]
        replies = shipped_engine().score(chats, request=request)
        return [
            ScoredReply(r.raw_reply, r.reason, r.logprobs[::-1], r.prompt_tokens, r.reply_tokens, r.failure)
            for r in replies
        ]


def test_a_judge_that_is_backwards_throughout_is_refused_only_where_the_winner_is_known() -> None:
    judge = make_probe_judge(Backwards(), template=load_template(PAIR_TEMPLATE), config=JudgeConfig())
    principle = Principle(id="polite", text="Prefer the reply that is polite.", tags=("courteous",))
    answers = judge([(probe, principle) for probe in PROBES])
    declared = read_principle(principle, probes=PROBES, answers=answers)
    untagged = principle.model_copy(update={"tags": ()})
    undeclared = read_principle(untagged, probes=PROBES, answers=answers)
    assert (declared.find_fault(), undeclared.find_fault()) == ("backwards", None)
    assert declared.num_right <= 2
    assert undeclared.read_as == "curt"


def test_a_wording_that_passes_although_the_judge_is_wrong_is_counted_as_that() -> None:
    clear = draw_clear_pairs(seed=1, per_attribute=4)

    def polite_whatever_is_asked(questions):  # type: ignore[no-untyped-def]
        answers = []
        for probe, _ in questions:
            gap = truth.truth_gap(chat(probe), probe.first, probe.second, measure_name="courteous")
            answers.append(ProbeAnswer(0.9 if gap > 0 else 0.1, flipped=False))
        return answers

    wordings = [
        Intended("Prefer the reply that is kind.", "courteous"),
        Intended("Prefer the reply that is not polite.", "curt"),
        Intended("Prefer the reply that hides a tone.", None),
    ]
    rows = [check_wording(w, probes=PROBES, clear=clear, judge=polite_whatever_is_asked) for w in wordings]
    assert [(row.declared, row.undeclared, row.accuracy) for row in rows] == [
        (None, None, 1.0), ("backwards", None, 0.0), (None, None, None),
    ]  # fmt: skip
    figures = summarise(rows)
    assert (figures.wrongly_passed_declared, figures.wrongly_passed_undeclared) == (1 / 3, 2 / 3)
    assert (figures.wrongly_refused_declared, figures.accuracy) == (0, 0.5)
    assert probe_table({"tried": figures}).splitlines()[-1] == (
        "| tried | 3 | 50.0% | 67% | 33% | 33% | 0% | 100% | 0% | 67% | 0% |"
    )
