"""Decisions -> the queues in which they wait for a person, kept in the search index.

A queue holds decisions with one sign that the judge may be wrong. It finds errors and estimates nothing: whoever is
asked about a queue is asked about other pairs too, with known probabilities (`rlaif spot-check draw --queue`).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from pydantic import ValidationError

from rlaif.audit.contradiction import Argued, find_contradictions
from rlaif.evaluation.reward_misses import RewardMiss
from rlaif.ledger.queries import find_comparisons, list_records
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, EditTest, Judgement, Question, Sample
from rlaif.run.stages import EVALUATION
from rlaif.stats.logits import canonical_pair


class Queue(NamedTuple):
    """A queue in words."""

    title: str
    sign: str
    """What is true of its decisions, as it is told to whoever labelled one."""


LOW_MASS = 0.9
"""Share of the judge's probability on its answers below which a decision is queued."""
UNSURE = 0.6
"""Probability of the winner, likewise."""
QUEUES: Mapping[str, Queue] = {
    "edit-flips": Queue("Flips of an edit", "an edited principle file changes the winner"),
    "order-flips": Queue("Order flips", "the judge changed its mind with the order of the replies"),
    "judges-apart": Queue("Judges apart", "two judges named different winners"),
    "low-mass": Queue(
        "Low label mass",
        f"less than {LOW_MASS:.0%} of the judge's probability lay on its answers, or a part of it is not known",
    ),
    "unsure": Queue("Low confidence", f"the judge gave its winner less than {UNSURE:.0%}"),
    "reward-model": Queue("Reward model against label", "the reward model prefers the reply that the label does not"),
    "reasons": Queue("Reason against verdict", "the judge's reason speaks for the reply that it did not choose"),
}
DDL = (
    "CREATE TABLE queued (name TEXT, seq INTEGER, PRIMARY KEY (name, seq)) WITHOUT ROWID",
    "CREATE TABLE queued_edits (tests INTEGER, seq INTEGER)",
    "INSERT INTO queued_edits VALUES (0, 0)",
    "CREATE TABLE queued_reports (path TEXT PRIMARY KEY, version INTEGER)",
)
MAX_REPORT_BYTES = 64 * 1024 * 1024
_ADD = "INSERT OR IGNORE INTO queued SELECT ?, seq FROM decisions WHERE id = ?"


def queue_page(
    connection: apsw.Connection,
    ledger: Ledger,
    page: Sequence[tuple[int, Comparison]],
    *,
    samples: Mapping[str, Sample],
    judgements: Mapping[str, Judgement],
    questions: Mapping[str, Question],
) -> None:
    """Queue decisions that were put into the index a moment ago, by what they and their answers say."""
    rows = []
    for seq, one in page:
        answers = [judgements[key] for key in one.judgement_ids if key in judgements]
        texts = [samples[key].text if key in samples else "" for key in one.sample_ids]
        asked = [(answer, questions[answer.question_id]) for answer in answers if answer.question_id in questions]
        rows += [(name, seq) for name in _find_signs(one, answers)]
        if find_contradictions(describe_orders(one, asked, texts=(texts[0], texts[1]))):
            rows.append(("reasons", seq))
    connection.executemany("INSERT OR IGNORE INTO queued VALUES (?, ?)", rows)
    _queue_apart(connection, ledger, [one.prompt_id for _, one in page])


def _find_signs(one: Comparison, answers: Iterable[Judgement]) -> Iterator[str]:
    if one.flipped:
        yield "order-flips"
    if max(one.p_first, 1 - one.p_first) < UNSURE:
        yield "unsure"
    if any(_is_low(answer) for answer in answers):
        yield "low-mass"


def _is_low(answer: Judgement) -> bool:
    hidden = math.exp(answer.unlisted_at_most or 0.0) if answer.unlisted else 0.0
    return hidden > 1 - LOW_MASS or (answer.label_mass is not None and answer.label_mass < LOW_MASS)


def describe_orders(
    one: Comparison, asked: Iterable[tuple[Judgement, Question]], *, texts: tuple[str, str]
) -> list[Argued]:
    """The reasons of a comparison's orders; texts: of its samples, which are called A and B."""
    called = {one.sample_ids[0]: ("A", texts[0]), one.sample_ids[1]: ("B", texts[1])}
    found = []
    for judgement, question in asked:
        shown = [called[key] for key in question.sample_ids if key in called]
        if len(question.sample_ids) == len(shown) == 2:
            (first, text), (second, other) = shown
            found.append(Argued(judgement.reason or "", judgement.verdict, (text, other), shown=(first, second)))
    return found


def _queue_apart(connection: apsw.Connection, ledger: Ledger, prompt_ids: Iterable[str]) -> None:
    """Queue pairs on which two judges named different winners under one principle."""
    if len(connection.execute("SELECT DISTINCT judge FROM decisions LIMIT 2").fetchall()) < 2:
        return
    for prompt_id in dict.fromkeys(prompt_ids):
        sides: dict[tuple[Any, ...], list[Comparison]] = defaultdict(list)
        for one in find_comparisons(ledger, [prompt_id]):
            sides[canonical_pair(*one.sample_ids), one.principle].append(one)
        for found in sides.values():
            if _are_apart(found):
                connection.executemany(_ADD, [("judges-apart", one.id) for one in found])


def _are_apart(found: Sequence[Comparison]) -> bool:
    """Whether one judge names the first of the pair and another one the second."""
    for_first = {one.judge_id for one in found if _side(one) > 0}
    for_second = {one.judge_id for one in found if _side(one) < 0}
    return any(one != other for one in for_first for other in for_second)


def _side(one: Comparison) -> float:
    """Above 0: for the first of the pair in canonical order."""
    is_listed = one.sample_ids == canonical_pair(*one.sample_ids)
    return one.p_first - 0.5 if is_listed else 0.5 - one.p_first


def queue_edit_flips(connection: apsw.Connection, ledger: Ledger) -> None:
    """Queue the decisions behind the flips of tested edits, where a test or a decision came since."""
    tests = _find_tests(ledger)
    last = connection.execute("SELECT coalesce(max(seq), 0) FROM decisions").get
    if not tests or connection.execute("SELECT tests, seq FROM queued_edits").fetchall() == [(len(tests), last)]:
        return
    with connection:
        for test in tests:
            for item in test.flips:
                for one in find_comparisons(ledger, [item.prompt_id]):
                    is_pair = canonical_pair(*one.sample_ids) == canonical_pair(*item.sample_ids)
                    if is_pair and (not item.flipped_by or one.principle.id in item.flipped_by):
                        connection.execute(_ADD, ("edit-flips", one.id))
        connection.execute("UPDATE queued_edits SET tests = ?, seq = ?", (len(tests), last))


def _find_tests(ledger: Ledger) -> list[EditTest]:
    """Tests of edited files; those of judges are left out."""
    return [test for test in list_records(ledger, EditTest) if not test.new_run]


def describe_queue_lag(connection: apsw.Connection, ledger: Ledger, runs_dir: Path) -> str:
    """What came since that changes a queue and no decision; empty where nothing did. connection: of the index."""
    late = []
    if connection.execute("SELECT tests FROM queued_edits").get != len(_find_tests(ledger)):
        late.append("tests of edits")
    if any(_find_new_reports(connection, runs_dir)):
        late.append("reports")
    return f"{' and '.join(late)} came since" if late else ""


def _find_new_reports(connection: apsw.Connection, runs_dir: Path) -> Iterator[tuple[Path, int]]:
    """Reports of rounds that were not read as they are now, each with its version."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT path, version FROM queued_reports").fetchall()
    read = dict(rows)
    for path in sorted(runs_dir.glob(f"*/round_*/{EVALUATION.folder}/report.json")):
        version = path.stat().st_mtime_ns
        if read.get(str(path)) != version:
            yield path, version


def queue_reward_misses(connection: apsw.Connection, ledger: Ledger, runs_dir: Path) -> None:
    """Queue the decisions behind held-out labels that a reward model contradicts, as the runs' reports name them."""
    for path, version in _find_new_reports(connection, runs_dir):
        with connection:
            for miss in _read_misses(path):
                for one in find_comparisons(ledger, [miss.prompt_id]):
                    samples = ledger.find(Sample, one.sample_ids).values()
                    if {sample.text_digests["text"] for sample in samples} == {miss.preferred, miss.other}:
                        connection.execute(_ADD, ("reward-model", one.id))
            connection.execute("INSERT OR REPLACE INTO queued_reports VALUES (?, ?)", (str(path), version))


def _read_misses(path: Path) -> list[RewardMiss]:
    """None of a report that cannot be read, or that an older version wrote."""
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            return []
        found = json.loads(path.read_bytes())
        return [RewardMiss.model_validate(one) for one in found.get("reward_misses", ())]
    except (OSError, ValueError, AttributeError, TypeError, ValidationError):
        return []
