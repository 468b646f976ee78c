"""Lists page by key under every filter; a decision comes with everything behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ledger_world import World, keep_world, make_judgement, make_world

from rlaif.errors import InputError
from rlaif.ledger.queries import find_decision, list_comparisons, list_failures, list_judgements
from rlaif.ledger.store import Ledger
from rlaif.records import PrincipleKey, Question, Record, Use, digest_text

WORLDS = [
    make_world(0, verdicts=("first", "second")),
    make_world(1, verdicts=("first", "first")),
    make_world(2, verdicts=("second", "tie")),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = Ledger.open(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    for world in WORLDS:
        keep_world(ledger, world)
    used = WORLDS[2].judgements[0]
    ledger.append([Use(run="002", round=0, stage="s", record_table="judgements", record_id=used.id)])
    return ledger


def judgement_ids(*worlds: World) -> list[str]:
    return [judgement.id for world in worlds for judgement in world.judgements]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, judgement_ids(*WORLDS)),
        ({"verdict": "tie"}, [WORLDS[2].judgements[1].id]),
        ({"verdict": "first"}, [WORLDS[0].judgements[0].id, *judgement_ids(WORLDS[1])]),
        ({"principle": "brief"}, judgement_ids(*WORLDS)),
        ({"principle": "brie"}, []),
        ({"prompt_id": WORLDS[1].prompt.id}, judgement_ids(WORLDS[1])),
        ({"run": "002"}, [WORLDS[2].judgements[0].id]),
        ({"run": "001", "verdict": "second"}, [WORLDS[0].judgements[1].id, WORLDS[2].judgements[0].id]),
    ],
)
def test_judgements_are_filtered(ledger: Ledger, filters: dict[str, Any], expected: list[str]) -> None:
    page = list_judgements(ledger, **filters)
    assert [line.judgement.id for line in page.lines] == expected
    assert all(line.question and line.question.id == line.judgement.question_id for line in page.lines)
    assert page.next_key is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"flipped": True}, [1]),
        ({"flipped": False}, [0, 2]),
        ({"verdict": "first"}, [0, 1, 2]),
        ({"verdict": "second"}, []),
        ({"run": "001", "prompt_id": WORLDS[2].prompt.id}, [2]),
        ({"run": "002"}, []),
        ({"principle": "brief", "flipped": True}, [1]),
    ],
)
def test_comparisons_are_filtered(ledger: Ledger, filters: dict[str, Any], expected: list[int]) -> None:
    page = list_comparisons(ledger, **filters)
    assert [line.comparison for line in page.lines] == [WORLDS[number].comparison for number in expected]


def test_failed_answers_are_filtered(ledger: Ledger) -> None:
    assert len(list_failures(ledger).lines) == 3
    assert len(list_failures(ledger, cause="unparsable", principle="brief").lines) == 3
    assert list_failures(ledger, cause="empty").lines == []
    assert [f.failure for f in list_failures(ledger, prompt_id=WORLDS[0].prompt.id).lines] == [WORLDS[0].failure]


def test_pages_follow_one_another_without_a_gap(ledger: Ledger) -> None:
    found, after = [], 0
    while True:
        page = list_judgements(ledger, after=after, limit=4)
        found += [line.judgement.id for line in page.lines]
        if page.next_key is None:
            break
        after = page.next_key
    assert found == judgement_ids(*WORLDS)


@pytest.mark.parametrize(
    "named",
    [
        lambda w: w.comparison.id, lambda w: w.judgements[0].id, lambda w: w.judgements[1].id,
        lambda w: w.questions[0].id, lambda w: w.questions[1].id, lambda w: w.failure.id,
        lambda w: w.comparison.id[:10],
    ],
)  # fmt: skip
def test_every_id_of_a_decision_opens_the_whole_of_it(ledger: Ledger, named: Callable[[World], str]) -> None:
    world = WORLDS[1]
    decision = find_decision(ledger, named(world))
    assert decision.found.id.startswith(named(world))
    assert decision.comparison == world.comparison
    assert [side.question for side in decision.sides] == list(world.questions)
    assert [side.judgement for side in decision.sides] == list(world.judgements)
    assert [side.failures for side in decision.sides] == [[], [world.failure]]
    assert decision.sides[0].samples == list(world.samples)
    assert decision.sides[1].samples == list(world.samples[::-1])
    assert decision.prompt == world.prompt
    assert decision.judge == world.judge
    assert decision.principles == {"brief": "Prefer the shorter reply."}
    assert decision.template == world.template.source
    assert decision.constitutions == [world.constitution]
    assert [use.record_id for use in decision.uses] == [world.comparison.id]
    assert decision.sides[0].uses[0].run == "001"


def test_a_pair_without_a_comparison_shows_both_orders(tmp_path: Path) -> None:
    world = make_world()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        other_principle = world.questions[0].changed(principles=(PrincipleKey(id="x", text_digest="y"),))
        ledger.append([*world.questions, other_principle, world.judgements[0], world.failure])
        decision = find_decision(ledger, world.judgements[0].id)
    assert decision.comparison is None
    assert [side.question for side in decision.sides] == list(world.questions)
    assert decision.sides[1].failures == [world.failure]
    assert (decision.prompt, decision.template, decision.principles) == (None, None, {"brief": None})


@pytest.mark.parametrize("text", ["", "xyz", "../up", "%", "A"])
def test_what_is_no_id_is_refused(ledger: Ledger, text: str) -> None:
    with pytest.raises(InputError, match="is no id"):
        find_decision(ledger, text)


def test_an_unknown_or_ambiguous_id_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="has an id that begins with"):
        find_decision(ledger, "0" * 32)
    judgements = [make_judgement(f"q{number}") for number in range(20)]
    ledger.append(judgements)
    with pytest.raises(InputError, match=r"several ids begin with .*: "):
        find_decision(ledger, judgements[0].id[:1])


class TimedLedger(Ledger):
    """Knows the longest run of each statement."""

    longest: ClassVar[dict[str, float]] = {}

    def rows(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        started = time.thread_time()
        rows = super().rows(sql, bindings)
        self.longest[sql] = max(self.longest.get(sql, 0), time.thread_time() - started)
        return rows


@pytest.mark.heavy(minutes=0.5)
def test_no_statement_reads_longer_than_fifty_milliseconds_on_a_hundred_thousand_rows(tmp_path: Path) -> None:
    ledger = TimedLedger.open(tmp_path / "ledger.sqlite")
    world = make_world()
    keep_world(ledger, world)
    for start in range(0, 100_000, 2000):
        records: list[Record] = []
        for number in range(start, start + 2000):
            name = "rare" if number == 99_000 else "brief"
            question = world.questions[0].changed(
                prompt_id=digest_text(f"p{number // 12}")[:32], draw=number,
                principles=(PrincipleKey(id=name, text_digest=digest_text(name)),),
            )  # fmt: skip
            judgement = make_judgement(question.id, "tie" if number == 98_000 else "first")
            records += [question, judgement, world.comparison.changed(
                prompt_id=question.prompt_id, judgement_ids=(judgement.id,), flipped=number % 5 == 0,
                principle=question.principles[0])]  # fmt: skip
            records += [
                Use(run="003", round=0, stage="3_judgements", record_table=r.table, record_id=r.id)
                for r in records[-2:]
            ]
        ledger.append(records)
    for filters in (
        {"verdict": "tie"}, {"principle": "rare"}, {"principle": "rare", "verdict": "tie"}, {"run": "none"},
        {"run": "003", "principle": "brief"}, {"prompt_id": digest_text("p7")[:32]}, {"prompt_id": "none"},
    ):  # fmt: skip
        list_judgements(ledger, **filters)  # type: ignore[arg-type]
        list_comparisons(ledger, **filters)  # type: ignore[arg-type]
        list_failures(ledger, **{k: v for k, v in filters.items() if k != "verdict"})  # type: ignore[arg-type]
    list_comparisons(ledger, flipped=True, principle="rare")
    find_decision(ledger, world.comparison.id[:9])
    find_decision(ledger, list_judgements(ledger, principle="rare").lines[0].judgement.id)
    assert len(ledger.used("003", 0, "3_judgements", Question)) == 0
    slow = {sql: seconds for sql, seconds in ledger.longest.items() if seconds > 0.05}
    assert not slow, slow
    assert ledger.head().seq > 400_000
