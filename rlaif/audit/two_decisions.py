"""What two rounds decided about the same pairs of replies, and where they differ.

Goes through the prompts of the first round, so many at a time, and looks up what both rounds decided about each of
their pairs: under each principle, and as the label that training reads. No record is read whole. Asks no judge.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from rlaif.ledger.lineage import StageOfRun
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import id_lists
from rlaif.preferences.diff import decide
from rlaif.records import Comparison, Preference, Prompt
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, PROMPTS

PROMPTS_COMPARED = 200
LABEL = "the label"
"""Stands in place of a principle's id, where training's label of a whole pair is meant."""
MAX_SHOWN = 200
"""Differences that are listed; all of them are counted."""


class RoundOfRun(NamedTuple):
    run: str
    round: int

    def stage(self, folder: str) -> StageOfRun:
        return StageOfRun(self.run, self.round, folder)


class CountedPairs(NamedTuple):
    """Pairs that both rounds decided: under one principle, or their labels."""

    name: str
    """The principle's id; `LABEL` for the labels."""
    both: int
    same_answer: int
    """Of these the same decision, asked once: the ledger answered the second round."""
    differ: int
    """Of these the pairs of which each round has another winner, or one of them a tie."""


class Difference(NamedTuple):
    """A pair with two winners."""

    name: str
    prompt: str
    """What the prompt's last turn says; untrusted, and empty where the ledger does not have it."""
    ids: tuple[str, str]
    """The decision of each round: a comparison or a preference."""
    p_first: tuple[float, float]
    """What each gave the first sample."""

    @property
    def distance(self) -> float:
        return abs(self.p_first[0] - self.p_first[1])


class TwoDecided(NamedTuple):
    """What two rounds decided about the pairs of some prompts."""

    num_prompts: int
    """Prompts of the first round that were looked at."""
    counted: tuple[CountedPairs, ...]
    """The labels first, then the principles."""
    num_only: tuple[int, int]
    """Labels that only one of the rounds has."""
    differences: tuple[Difference, ...]
    """The furthest apart first; the labels before the principles."""
    next_key: int | None
    """Give it as `after` for the next prompts; None: those were all."""


class _Decided(NamedTuple):
    id: str
    prompt_id: str
    p_first: float


Key = tuple[str, str, tuple[str, ...]]
"""Name, a further mark (a judge, or who prefers), and the pair's samples."""


def compare_decided(ledger: Ledger, one: RoundOfRun, other: RoundOfRun, *, after: int = 0) -> TwoDecided:
    """What both rounds decided. after: begin behind this row of the ledger."""
    prompts = _list_prompts(ledger, one, after=after)
    ids = [key for _, key in prompts]
    found = [_find_decided(ledger, ids, round) for round in (one, other)]
    labels = [_find_labels(ledger, ids, round) for round in (one, other)]
    counted: list[CountedPairs] = []
    differences: list[Difference] = []
    for first, second in (labels, found):
        keys = [key for key in first if key in second]
        differ = [key for key in keys if decide(first[key].p_first) != decide(second[key].p_first)]
        counted += _count(first, second, keys=keys, differ=differ)
        pairs = [(key, first[key], second[key]) for key in differ]
        differences += sorted(
            (
                Difference(key[0], a.prompt_id, (a.id, b.id), (a.p_first, b.p_first))
                for key, a, b in pairs
            ),
            key=lambda pair: (-pair.distance, pair.ids),
        )  # fmt: skip
    shared = labels[0].keys() & labels[1].keys()
    return TwoDecided(
        num_prompts=len(prompts),
        counted=tuple(counted),
        num_only=(len(labels[0]) - len(shared), len(labels[1]) - len(shared)),
        differences=tuple(_name_prompts(ledger, differences[:MAX_SHOWN])),
        next_key=prompts[-1][0] if len(prompts) == PROMPTS_COMPARED else None,
    )


def _list_prompts(ledger: Ledger, of: RoundOfRun, *, after: int) -> list[tuple[int, str]]:
    """The first prompts that a round used after this row."""
    place = of.stage(PROMPTS.folder)
    sql = (
        "SELECT seq, record_id FROM uses WHERE run = ? AND round = ? AND stage = ? AND record_table = 'prompts'"
        f" AND seq > ? ORDER BY seq LIMIT {PROMPTS_COMPARED}"
    )
    rows = ledger.rows(sql, (*place, max(after, ledger.makings(*place).began_at)))
    return [(seq, key) for seq, key in rows]


_USED = (
    "EXISTS (SELECT 1 FROM uses AS u WHERE u.record_id = t.id AND u.run = ? AND u.round = ? AND u.stage = ?"
    " AND u.seq > ?)"
)


def _rows(
    ledger: Ledger, table: str, columns: str, prompt_ids: Iterable[str], place: StageOfRun
) -> Iterator[tuple[str, str, float, str, str]]:
    """Rows of the prompts that the stage's last making used: id, prompt, `columns`, samples as JSON."""
    sql = (
        f"SELECT t.id, t.prompt_id, {columns}, t.content ->> '$.sample_ids' FROM {table} AS t"
        f" WHERE t.prompt_id IN (SELECT value FROM json_each(?)) AND {_USED} ORDER BY t.seq"
    )
    for chunk in id_lists(prompt_ids):
        yield from ledger.rows(sql, (chunk, *place, ledger.makings(*place).began_at))


def _find_decided(ledger: Ledger, prompt_ids: Iterable[str], of: RoundOfRun) -> dict[Key, _Decided]:
    """What the round decided under each principle, by judge where it has several."""
    place = of.stage(JUDGEMENTS.folder)
    columns = "t.p_first, coalesce(t.principle_id, '') || char(10) || (t.content ->> '$.judge_id')"
    rows = list(_rows(ledger, Comparison.table, columns, prompt_ids, place))
    several = len({names.split("\n")[1] for *_, names, _ in rows}) > 1
    found = {}
    for key, prompt_id, p_first, names, samples in rows:
        principle, judge = names.split("\n")
        found[principle, judge if several else "", tuple(json.loads(samples))] = _Decided(key, prompt_id, p_first)
    return found


def _find_labels(ledger: Ledger, prompt_ids: Iterable[str], of: RoundOfRun) -> dict[Key, _Decided]:
    """The round's labels of pairs, the judge's and people's apart."""
    place = of.stage(PREFERENCES.folder)
    columns = "t.content ->> '$.label', t.source || char(10) || (t.content ->> '$.kind')"
    found = {}
    for key, prompt_id, label, names, samples in _rows(ledger, Preference.table, columns, prompt_ids, place):
        source, kind = names.split("\n")
        if kind == "pair":
            found[LABEL, source, tuple(json.loads(samples))] = _Decided(key, prompt_id, label)
    return found


def _count(
    first: Mapping[Key, _Decided], second: Mapping[Key, _Decided], *, keys: Iterable[Key], differ: Iterable[Key]
) -> Iterator[CountedPairs]:
    both: Counter[str] = Counter()
    same: Counter[str] = Counter()
    for key in keys:
        both[key[0]] += 1
        same[key[0]] += first[key].id == second[key].id
    differing = Counter(key[0] for key in differ)
    for name in sorted(both):
        yield CountedPairs(name, both[name], same[name], differing[name])


def _name_prompts(ledger: Ledger, differences: Iterable[Difference]) -> Iterator[Difference]:
    differences = list(differences)
    prompts = ledger.find(Prompt, {one.prompt for one in differences})
    for one in differences:
        prompt = prompts.get(one.prompt)
        yield one._replace(prompt="" if prompt is None else prompt.messages[-1].content)
