"""The reward models and policies of a ledger: a list, and for each its card, what it was made of, what was made of it.

The lineage is that of `rlaif audit lineage`. Reads the ledger alone, loads no model and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rlaif.audit.lineage import Lineage, trace_round
from rlaif.audit.traced import TracedModel, name_models, trace_card
from rlaif.audit.view import Fact
from rlaif.errors import InputError
from rlaif.ledger.lineage import StageOfRun
from rlaif.ledger.queries import list_records
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import StoredRow
from rlaif.records import Alarm, Estimate, EvaluationReport, Model, PolicyCard, RewardModelCard
from rlaif.report.wording import format_count, format_estimate, format_number
from rlaif.run.stages import POLICY, PREFERENCES, REWARD_MODEL

Card = RewardModelCard | PolicyCard
CARDS: tuple[type[RewardModelCard], type[PolicyCard]] = (RewardModelCard, PolicyCard)
IDS_SHOWN = 5
MAX_PLACES = 50


class ModelRow(NamedTuple):
    """A reward model or a policy, by its card."""

    key: int
    """Its card's row in the ledger."""
    model: TracedModel
    places: tuple[StageOfRun, ...]
    """The stages that made it, the newest first: runs with one ledger may make the same model."""
    measure: str
    """What its number is: accuracy or win rate."""
    estimate: Estimate | None
    num_alarms: int
    stopped: str


class ModelList(NamedTuple):
    rows: tuple[ModelRow, ...]
    next_key: int | None
    """Give it as `before` for the next page; None: that was all."""


class ModelScreen(NamedTuple):
    """Everything about one model."""

    model: TracedModel
    places: tuple[StageOfRun, ...]
    facts: tuple[Fact, ...]
    """What its card says."""
    alarms: tuple[Alarm, ...]
    metrics: tuple[Fact, ...]
    options: str
    """The options that it was trained with, as JSON."""
    lineage: Lineage
    preference_ids: dict[int, tuple[str, ...]]
    """Round -> the first of its preferences."""
    later: tuple[TracedModel, ...]
    """Models that were trained from it or against it."""
    pages: dict[str, str]
    """Ids and names of other models of the ledger that have a card -> their ids."""


def list_models(ledger: Ledger, *, before: int | None = None, limit: int = 50) -> ModelList:
    """The reward models and policies of a ledger, the newest first, as far as a run still uses their cards."""
    found: list[tuple[int, Card]] = []
    for kind in CARDS:
        sql = f"SELECT seq, id, content, observed FROM {kind.table} WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        rows = [StoredRow(*row) for row in ledger.rows(sql, (2**63 - 1 if before is None else before, limit))]
        cards: Sequence[Card] = ledger.restore(kind, rows)
        found += [(row.seq, card) for row, card in zip(rows, cards, strict=True)]
    found = sorted(found, key=lambda one: -one[0])[:limit]
    models = ledger.find(Model, [card.model_id for _, card in found])
    rows_shown = [_row(ledger, key, card, models.get(card.model_id)) for key, card in found]
    next_key = found[-1][0] if len(found) == limit else None
    return ModelList(tuple(row for row in rows_shown if row is not None), next_key)


def _row(ledger: Ledger, key: int, card: Card, model: Model | None) -> ModelRow | None:
    places = _find_places(ledger, card)
    if not places:
        return None
    if isinstance(card, RewardModelCard):
        measure, estimate, alarms, stopped = "accuracy on held-out pairs", card.accuracy, 0, ""
    else:
        measure, estimate = "win rate over the start", _find_win_rate(ledger, card.model_id)
        alarms, stopped = len(card.alarms), card.stopped
    return ModelRow(
        key=key,
        model=trace_card(card, model, place=places[0]),
        places=places,
        measure=measure,
        estimate=estimate,
        num_alarms=alarms,
        stopped=stopped,
    )


def _find_places(ledger: Ledger, card: Card) -> tuple[StageOfRun, ...]:
    """The stages whose last making used the card, the newest first."""
    sql = (
        "SELECT run, round, stage, max(seq) FROM uses WHERE record_id = ? AND stage IN (?, ?)"
        f" GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT {MAX_PLACES}"
    )
    rows = ledger.rows(sql, (card.id, REWARD_MODEL.folder, POLICY.folder))
    return tuple(StageOfRun(*place) for *place, seq in rows if seq > ledger.makings(*place).began_at)


def _find_win_rate(ledger: Ledger, model_id: str) -> Estimate | None:
    """What the newest evaluation of a policy says."""
    report = _find_evaluation(ledger, model_id)
    return None if report is None else report.win_rate


def _find_evaluation(ledger: Ledger, model_id: str) -> EvaluationReport | None:
    rows = ledger.rows("SELECT id FROM evaluations WHERE policy_model_id = ? ORDER BY seq DESC LIMIT 1", (model_id,))
    return ledger.get(EvaluationReport, rows[0][0]) if rows else None


def find_model(ledger: Ledger, prefix: str) -> ModelScreen:
    """The model whose id, or whose card's id, begins with `prefix`."""
    card = _find_card(ledger, prefix)
    places = _find_places(ledger, card)
    if not places:
        raise InputError(
            f"the stage that made the model {card.model_id[:12]} was made again and made another",
            where=str(ledger.path),
            fix="choose one of the list of policies",
        )
    model = trace_card(card, ledger.get(Model, card.model_id), place=places[0])
    lineage = trace_round(ledger, model.run, model.round).model_copy(update={"model": model})
    cards = _list_cards(ledger)
    names = name_models(ledger, {one.model_id for one in cards})
    return ModelScreen(
        model=model,
        places=places,
        facts=tuple(_card_facts(ledger, card)),
        alarms=card.alarms if isinstance(card, PolicyCard) else (),
        metrics=tuple(Fact(name, format_number(value)) for name, value in card.metrics.items()),
        options=json.dumps(card.config, indent=2, ensure_ascii=False),
        lineage=lineage,
        preference_ids={one.round: _find_preferences(ledger, one.run, one.round) for one in lineage.rounds},
        later=tuple(_find_later(ledger, cards, card.model_id)),
        pages={key: key for key in names} | {name: key for key, name in names.items()},
    )


def _find_card(ledger: Ledger, prefix: str) -> Card:
    if not prefix or prefix.strip("0123456789abcdef"):
        raise InputError(f'"{prefix[:80]}" is no id', fix="choose one of the list of policies")
    found: dict[str, tuple[type[RewardModelCard] | type[PolicyCard], str]] = {}
    for kind in CARDS:
        for column in ("id", "model_id"):
            begins = f"{column} >= ? AND {column} < ?"
            sql = f"SELECT id, model_id FROM {kind.table} WHERE {begins} ORDER BY {column}, seq DESC LIMIT 2"
            for card_id, model_id in ledger.rows(sql, (prefix, prefix + "g")):
                found.setdefault(model_id, (kind, card_id))
    if not found:
        raise InputError(
            f"no reward model and no policy of this ledger has an id that begins with {prefix[:80]}",
            where=str(ledger.path),
            fix="choose one of the list of policies",
        )
    if len(found) > 1:
        raise InputError(f"several models have an id that begins with {prefix}", fix="give more of it")
    kind, card_id = next(iter(found.values()))
    card: Card = ledger.find(kind, [card_id])[card_id]
    return card


def _card_facts(ledger: Ledger, card: Card) -> Iterator[Fact]:
    if isinstance(card, RewardModelCard):
        yield Fact("accuracy on held-out pairs", _describe(card.accuracy, percent=True))
        return
    steps = "not known" if card.num_steps is None else format_count(card.num_steps, "step")
    yield Fact("training in its weights", steps)
    if card.stopped:
        yield Fact("stopped early", card.stopped)
    if card.edit:
        yield Fact("constitution", card.edit)
    report = _find_evaluation(ledger, card.model_id)
    if report is None:
        yield Fact("evaluation", "none yet")
        return
    yield Fact("win rate over the start", _describe(report.win_rate, percent=True))
    if (kl := report.figures.get("kl")) is not None:
        yield Fact("KL to the start, nats per response", format_number(kl, decimals=2))
    for name, change in report.measures_change.items():
        yield Fact(f"{name}, change", _describe(change, signed=True))


def _describe(estimate: Estimate | None, *, percent: bool = False, signed: bool = False) -> str:
    if estimate is None:
        return "not measured"
    said = format_estimate(estimate, percent=percent, signed=signed)
    return f"{said.mean} ({said.interval}, {said.n})"


def _find_preferences(ledger: Ledger, run: str, number: int) -> tuple[str, ...]:
    place = (run, number, PREFERENCES.folder)
    sql = (
        "SELECT record_id FROM uses WHERE run = ? AND round = ? AND stage = ? AND record_table = 'preferences'"
        f" AND seq > ? ORDER BY seq LIMIT {IDS_SHOWN}"
    )
    return tuple(key for (key,) in ledger.rows(sql, (*place, ledger.makings(*place).began_at)))


def _list_cards(ledger: Ledger) -> list[Card]:
    return [*list_records(ledger, RewardModelCard), *list_records(ledger, PolicyCard)]


def _find_later(ledger: Ledger, cards: Iterable[Card], model_id: str) -> Iterator[TracedModel]:
    for card in cards:
        made_from = (
            {card.base_model_id}
            if isinstance(card, RewardModelCard)
            else {card.reward_model_id, card.trained_from_id, card.reference_model_id}
        )
        if model_id in made_from - {card.model_id}:
            for place in _find_places(ledger, card):
                yield trace_card(card, ledger.get(Model, card.model_id), place=place)
