"""A model's folder, or a round of a run -> everything in the ledger that it was made of.

Back from a card to rounds, preferences, judgements, judges, principles and the sources of prompts, as counts. Reads the
ledger and a model's files; loads no model and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.audit.heads import CARD, read_card_heads
from rlaif.audit.traced import (
    TracedHead,
    TracedJudge,
    TracedModel,
    TracedPrinciple,
    TracedRound,
    find_models_by_weights,
    find_traced_models,
    name_models,
)
from rlaif.errors import InputError
from rlaif.ledger.chain import PrintedHead
from rlaif.ledger.lineage import StageOfRun, count_judged, count_used_by, list_places
from rlaif.ledger.store import Ledger
from rlaif.models.weights.model_folder import digest_folder, find_model_folder
from rlaif.records import CalibrationCard, Constitution, Value
from rlaif.run.folder import ROUND, RunFolder, holds_run
from rlaif.run.stages import JUDGEMENTS, POLICY, PREFERENCES, PROMPTS, REWARD_MODEL, SAMPLES

_NO_PRINCIPLES = "the constitution of this round is not in the ledger"


class Lineage(Value):
    """What a model, or the last of these rounds, was made of."""

    ledger: str
    head: TracedHead
    """The ledger's last row."""
    model: TracedModel | None
    """None where a round was named."""
    is_same_weights: bool | None = None
    """Whether the folder's weights are those that the card was written for; None where it cannot be known."""
    card_head: TracedHead | None = None
    """The ledger's head that the folder's README prints; None where it prints none."""
    rounds: tuple[TracedRound, ...]
    """The rounds that it was made of, oldest first."""
    given: tuple[str, ...] = ()
    """What it was also made of, or was made of instead, that no round of the run made: a sentence each."""


class ModelPlace(NamedTuple):
    """Where a model's folder is in a run."""

    run: RunFolder
    round: int
    stage: str


def find_place(model_dir: Path) -> ModelPlace | None:
    """The run, round and stage that a folder is in; None where it is in no run."""
    path = model_dir.resolve()
    for stage_dir in (path, *path.parents):
        found = ROUND.fullmatch(stage_dir.parent.name)
        if found is not None and holds_run(stage_dir.parent.parent):
            return ModelPlace(RunFolder(stage_dir.parent.parent), int(found[1]), stage_dir.name)
    return None


def trace_model(ledger: Ledger, model_dir: Path) -> Lineage:
    """The lineage of the model in a folder, which may be in its run or a copy anywhere.

    A folder in a run is known by its place, a copy by its weights.
    """
    weights = _digest_weights(model_dir)
    place = find_place(model_dir)
    found = [] if place is None else find_traced_models(ledger, StageOfRun(place.run.name, place.round, place.stage))
    if not found and weights is not None:
        found = find_models_by_weights(ledger, weights)
    if not found:
        raise InputError(
            "no card in this ledger is about the model in this folder",
            where=str(model_dir),
            fix="name the folder of a reward model or of a trained policy, and its runs by --runs-dir",
        )
    model = found[0]
    lineage = trace_round(ledger, model.run, model.round)
    heads = read_card_heads(model_dir / CARD)
    more = {
        "model": model,
        "is_same_weights": None if weights is None or not model.weights else weights == model.weights,
        "card_head": _check_head(ledger, heads[0]) if heads else None,
        "given": tuple(_find_given(ledger, model, lineage.rounds)),
    }
    return lineage.model_copy(update=more)


def trace_round(ledger: Ledger, run: str, number: int | None = None) -> Lineage:
    """The lineage of a round: it and all rounds before it. None: of the newest round."""
    places = list_places(ledger, run)
    numbers = sorted({place.round for place in places})
    last = numbers[-1] if numbers and number is None else number
    if last not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise InputError(
            f"run {run} used nothing of this ledger{'' if last is None else f' in round {last}'}",
            where=str(ledger.path),
            fix=f"name the run by --run and its ledger by --runs-dir; its rounds are {known}",
        )
    head = ledger.head()
    return Lineage(
        ledger=str(ledger.path),
        head=TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True),
        model=None,
        rounds=tuple(_trace(ledger, run, one, places=places) for one in numbers if one <= last),
    )


def _trace(ledger: Ledger, run: str, number: int, *, places: Sequence[StageOfRun]) -> TracedRound:
    at = {place.stage: place for place in places if place.round == number}

    def count(stage: str, what: str) -> dict[str, int]:
        return count_used_by(ledger, at[stage], what) if stage in at else {}

    policies = count(SAMPLES.folder, "samples by policy")
    names = name_models(ledger, policies)
    constitution = _find_constitution(ledger, list(at.values()))
    cards = ledger.used(run, number, PREFERENCES.folder, CalibrationCard)
    return TracedRound(
        run=run,
        round=number,
        constitution_id=constitution.id if constitution else "",
        constitution=constitution.name if constitution else _NO_PRINCIPLES,
        constitution_digest=constitution.file_digest if constitution else "",
        principles=_trace_principles(ledger, constitution),
        prompts=count(PROMPTS.folder, "prompts by source"),
        samples={names.get(key, key): num for key, num in policies.items()},
        judges=tuple(one for place in at.values() for one in _trace_judges(ledger, place)),
        failed=_add(count_used_by(ledger, place, "failures by cause") for place in at.values()),
        comparisons=count(JUDGEMENTS.folder, "comparisons by principle"),
        preferences=count(PREFERENCES.folder, "preferences by source"),
        labels=count(PREFERENCES.folder, "labels by annotator"),
        calibration_ids=tuple(card.id for card in cards),
        models=tuple(
            model
            for stage in (REWARD_MODEL, POLICY)
            if stage.folder in at
            for model in find_traced_models(ledger, at[stage.folder])
        ),
    )


def _find_constitution(ledger: Ledger, places: Sequence[StageOfRun]) -> Constitution | None:
    """The constitution of a round's judged stages."""
    sql = (
        "SELECT content ->> '$.constitution_id' FROM uses WHERE run = ? AND round = ? AND stage = ?"
        " AND content ->> '$.constitution_id' IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    for place in places:
        if rows := ledger.rows(sql, place):
            return ledger.get(Constitution, rows[0][0])
    return None


def _trace_principles(ledger: Ledger, constitution: Constitution | None) -> tuple[TracedPrinciple, ...]:
    return tuple(
        TracedPrinciple(id=principle.id, text=principle.text, digest=principle.digest, weight=principle.weight)
        for principle in (constitution.principles if constitution is not None else ())
    )


def _trace_judges(ledger: Ledger, place: StageOfRun) -> list[TracedJudge]:
    judged = count_judged(ledger, place)
    names = name_models(ledger, {one.judge_id for one in judged})
    return [
        TracedJudge(
            stage=place.stage, judge_id=one.judge_id, name=names.get(one.judge_id, one.judge_id),
            template_digest=one.template_digest or "", is_imported=one.origin == "imported", num_judgements=one.num,
        )
        for one in judged
    ]  # fmt: skip


def _add(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _digest_weights(model_dir: Path) -> str | None:
    """The digest of a folder's weights; None for an adapter, whose base model is elsewhere."""
    found = find_model_folder(str(model_dir), adapters=True)
    return None if found.is_adapter else digest_folder(found).weights


def _check_head(ledger: Ledger, head: PrintedHead) -> TracedHead:
    """A head that a card prints, compared with the chain."""
    return TracedHead(
        seq=head.seq or 0, hex=head.hex, is_in_chain=head.seq is not None and ledger.head_at(head.seq) == head.hex
    )


def _find_given(ledger: Ledger, model: TracedModel, rounds: Sequence[TracedRound]) -> Iterator[str]:
    """What the model, or the reward model that it was trained against, was made of outside the run's rounds."""
    trained = [*(one for round in rounds for one in round.models), model]
    against = model.made_from.get("reward model")
    own = next((one for one in trained if one.kind == "reward model" and one.model_id == against), None)
    if against is not None and own is None:
        yield f"the reward model {name_models(ledger, [against]).get(against, against)}, which this run did not train"
    for one in (model, own) if own is not None and own != model else (model,):
        if one.given_data:
            yield f"the preferences {one.given_data}, in place of those of the rounds"
