"""Which records a stage of a run used, counted by what they are, and where a principle or a decision was used.

Counts in one statement each, so that no record is read whole. Decides nothing about what a count means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import id_lists
from rlaif.records import Comparison, Judgement, Preference, Use

_USED = (
    "SELECT DISTINCT record_id FROM uses WHERE run = ?1 AND round = ?2 AND stage = ?3 AND record_table = '{table}'"
    " AND seq > ?4"
)
_FROM = "FROM {table} AS t WHERE t.id IN (" + _USED + ") GROUP BY 1 ORDER BY 1"
_QUESTION = "FROM ({used}) AS u CROSS JOIN {table} AS t ON t.id = u.record_id CROSS JOIN questions AS q"
_COUNTS = {
    "prompts by source": "SELECT t.source, count(*) " + _FROM.format(table="prompts"),
    "samples by policy": "SELECT t.policy_id, count(*) " + _FROM.format(table="samples"),
    "failures by cause": "SELECT t.cause, count(*) " + _FROM.format(table="failed_judgements"),
    "comparisons by principle": "SELECT t.principle_id, count(*) " + _FROM.format(table="comparisons"),
    "preferences by source": "SELECT t.source, count(*) " + _FROM.format(table="preferences"),
    "labels by annotator": "SELECT t.annotator, count(*) " + _FROM.format(table="human_labels"),
}
_JUDGED = (
    "SELECT q.content ->> '$.judge_id', q.content ->> '$.template_digest', coalesce(t.content ->> '$.origin', 'asked'),"
    f" count(*) {_QUESTION.format(used=_USED.format(table='judgements'), table='judgements')}"
    " ON q.id = t.question_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)


MAX_REMEMBERED = 2000
"""Counts of stages that a process keeps: a page of lineage needs about ten for each round."""
_REMEMBERED: dict[tuple[str, tuple[str, int, str], str], list[tuple[Any, ...]]] = {}


class StageOfRun(NamedTuple):
    """A stage of one round of a run."""

    run: str
    round: int
    stage: str


class JudgedCount(NamedTuple):
    """How many judgements of a stage one judge gave by one template."""

    judge_id: str
    template_digest: str | None
    origin: str
    num: int


class UsedCount(NamedTuple):
    """How often one stage used records of a kind, under one constitution."""

    place: StageOfRun
    constitution_id: str | None
    num: int


def count_used_by(ledger: Ledger, place: StageOfRun, what: str) -> dict[str, int]:
    """The records of a stage's last making, counted by a trait: a key of `_COUNTS`, such as "prompts by source"."""
    return {str(name): count for name, count in _count_once(ledger, place, _COUNTS[what])}


def count_judged(ledger: Ledger, place: StageOfRun) -> list[JudgedCount]:
    """The judgements of a stage's last making, by judge, template and origin."""
    return [JudgedCount(*row) for row in _count_once(ledger, place, _JUDGED)]


def _count_once(ledger: Ledger, place: StageOfRun, statement: str) -> list[tuple[Any, ...]]:
    """What a statement counts of a stage, kept in memory: a big stage takes a second, and pages ask for it again.

    The chain's head after the stage's last use stands for everything that is counted, in any ledger.
    """
    ((last,),) = ledger.rows("SELECT max(seq) FROM uses WHERE run = ? AND round = ? AND stage = ?", place)
    if last is None:
        return []
    key = (str(ledger.head_at(last)), place, statement)
    if key not in _REMEMBERED:
        if len(_REMEMBERED) >= MAX_REMEMBERED:
            _REMEMBERED.clear()
        _REMEMBERED[key] = list(ledger.rows(statement, _bind(ledger, place)))
    return _REMEMBERED[key]


def list_places(ledger: Ledger, run: str) -> list[StageOfRun]:
    """The stages of a run that used anything, in the order of rounds and names."""
    # one step of the index for each place, because a run uses many records at each
    sql = (
        "SELECT round, stage FROM uses WHERE run = ? AND (round, stage) > (?, ?) AND round >= ?2"
        " ORDER BY round, stage LIMIT 1"
    )
    found: list[StageOfRun] = []
    while page := ledger.rows(sql, (run, *(found[-1][1:] if found else (-1, "")))):
        found.append(StageOfRun(run, *page[0]))
    return found


def list_rounds(ledger: Ledger, run: str) -> list[int]:
    """The rounds in which a run used anything. Reads one row for each, however many a round used."""
    rounds: list[int] = []
    sql = "SELECT min(round) FROM uses WHERE run = ? AND round > ?"
    while (found := ledger.rows(sql, (run, rounds[-1] if rounds else -1))[0][0]) is not None:
        rounds.append(found)
    return rounds


def count_decided(ledger: Ledger, principle_id: str, table: str) -> list[UsedCount]:
    """How many comparisons, or preferences made of them, under a principle each stage used. Of a stage that was made
    again only the last making counts."""
    return _count_uses(ledger, _DECIDED[table], table, (principle_id,))


def count_made_of(ledger: Ledger, record_ids: Iterable[str], table: str) -> list[UsedCount]:
    """How many of some records of a table each stage used when it was last made."""
    found: dict[tuple[StageOfRun, str | None], int] = {}
    for chunk in id_lists(record_ids):
        for one in _count_uses(ledger, "SELECT value FROM json_each(?1)", table, (chunk,)):
            key = (one.place, one.constitution_id)
            found[key] = found.get(key, 0) + one.num
    return [UsedCount(place, constitution_id, count) for (place, constitution_id), count in found.items()]


def find_preference_ids(ledger: Ledger, place: StageOfRun, principle_id: str) -> list[tuple[str, str]]:
    """The preferences of a stage that any comparison under a principle went into, each with its prompt's id."""
    sql = (
        f"SELECT t.id, t.prompt_id FROM preferences AS t WHERE t.id IN ({_USED.format(table='preferences')})"
        " AND EXISTS (SELECT 1 FROM json_each(t.content, '$.evidence_ids') AS e CROSS JOIN comparisons AS c"
        " ON c.id = e.value WHERE c.principle_id = ?5)"
    )
    return [(key, prompt) for key, prompt in ledger.rows(sql, (*_bind(ledger, place), principle_id))]


def find_preferences_of(ledger: Ledger, comparison_ids: Iterable[str], *, run: str | None) -> list[Preference]:
    """The preferences that any of these comparisons went into, oldest first; of one run, where one is named."""
    used = " AND EXISTS (SELECT 1 FROM uses AS u WHERE u.record_id = p.id AND u.run = ?2)" if run is not None else ""
    sql = (
        "SELECT DISTINCT p.seq, p.id FROM comparisons AS c CROSS JOIN preferences AS p ON p.prompt_id = c.prompt_id"
        " WHERE c.id IN (SELECT value FROM json_each(?1)) AND EXISTS (SELECT 1 FROM"
        f" json_each(p.content, '$.evidence_ids') AS e WHERE e.value = c.id){used}"
    )
    more = () if run is None else (run,)
    rows = [row for chunk in id_lists(comparison_ids) for row in ledger.rows(sql, (chunk, *more))]
    return list(ledger.find(Preference, [key for _, key in sorted(rows)]).values())


def find_wordings(ledger: Ledger, principle_id: str) -> list[tuple[str, int]]:
    """The digests of the texts under which a principle was judged, each with the number of its comparisons."""
    sql = (
        "SELECT content ->> '$.principle.text_digest', count(*) FROM comparisons WHERE principle_id = ?"
        " GROUP BY 1 ORDER BY min(seq)"
    )
    return [(digest, count) for digest, count in ledger.rows(sql, (principle_id,))]


def list_principle_ids(ledger: Ledger) -> list[str]:
    """Ids of the principles of all comparisons, sorted."""
    sql = "SELECT DISTINCT principle_id FROM comparisons WHERE principle_id IS NOT NULL ORDER BY 1"
    return [name for (name,) in ledger.rows(sql)]


def find_uses(ledger: Ledger, record_ids: Iterable[str]) -> list[Use]:
    """The uses of some records that still count: those of the last making of their stage."""
    sql = "SELECT id FROM uses WHERE record_id IN (SELECT value FROM json_each(?)) ORDER BY seq"
    ids = [key for chunk in id_lists(record_ids) for (key,) in ledger.rows(sql, (chunk,))]
    uses = list(ledger.find(Use, ids).values())
    makings = {
        place: ledger.makings(*place).number for place in {StageOfRun(use.run, use.round, use.stage) for use in uses}
    }
    return [use for use in uses if use.making == makings[StageOfRun(use.run, use.round, use.stage)]]


_DECIDED = {
    Comparison.table: "SELECT id FROM comparisons WHERE principle_id = ?1",
    Judgement.table: (
        "SELECT j.id FROM questions AS q CROSS JOIN judgements AS j ON j.question_id = q.id WHERE q.principle_id = ?1"
    ),
    Preference.table: (
        "SELECT p.id FROM preferences AS p WHERE EXISTS (SELECT 1 FROM json_each(p.content, '$.evidence_ids') AS e"
        " CROSS JOIN comparisons AS c ON c.id = e.value WHERE c.principle_id = ?1)"
    ),
}
"""Statement by table: the ids of what was decided under a principle."""


def _count_uses(ledger: Ledger, ids: str, table: str, bindings: tuple[Any, ...]) -> list[UsedCount]:
    sql = (
        f"WITH i(id) AS ({ids}) SELECT u.run, u.round, u.stage, u.content ->> '$.constitution_id',"
        " u.content ->> '$.making', count(DISTINCT u.record_id) FROM i CROSS JOIN uses AS u ON u.record_id = i.id"
        f" WHERE u.record_table = '{table}' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3"
    )
    found: list[UsedCount] = []
    for run, round, stage, constitution_id, making, count in ledger.rows(sql, bindings):
        place = StageOfRun(run, round, stage)
        if (making or 0) == ledger.makings(*place).number:
            found.append(UsedCount(place, constitution_id, count))
    return found


def _bind(ledger: Ledger, place: StageOfRun) -> tuple[Any, ...]:
    return (*place, ledger.makings(*place).began_at)
