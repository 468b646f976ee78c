"""A principle or a decision -> everything that was made of it: preferences, splits, reward models, policies.

Forward through the ledger, as counts. A record that a stage used before it was made again does not count. Loads no
model and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.audit.traced import TracedHead, TracedModel, find_traced_models
from rlaif.errors import InputError, RunFolderError, describe_names
from rlaif.ledger.labels import find_label, find_labels_of
from rlaif.ledger.lineage import (
    StageOfRun,
    UsedCount,
    count_decided,
    count_made_of,
    find_preference_ids,
    find_uses,
    find_wordings,
    list_places,
    list_principle_ids,
)
from rlaif.ledger.queries import find_decision
from rlaif.ledger.store import Ledger
from rlaif.records import Comparison, Constitution, Judgement, Preference, Prompt, Use, Value, find_held_out
from rlaif.report.wording import format_count, join_words
from rlaif.run.folder import open_run
from rlaif.run.stages import EVALUATION, JUDGEMENTS, POLICY, PREFERENCES, PROMPTS, REWARD_MODEL

FindFraction = Callable[[str], float | None]
"""Gives the share of prompts that a run holds out; None where its folder is not there."""
MAX_IDS = 50
"""Preferences that are named; all of them are counted."""


class Wording(Value):
    """A text under which a principle was judged."""

    digest: str
    text: str | None
    """None where it is redacted or not in the ledger."""
    num_comparisons: int


class RoundUse(Value):
    """What one round made of the principle, or of the decision."""

    run: str
    round: int
    constitution_id: str
    constitution: str
    weight: float | None
    """The principle's weight there; None where the constitution does not have it."""
    num_judgements: int = 0
    num_comparisons: int = 0
    num_preferences: int = 0
    num_train: int | None = None
    """Of the preferences those that were to train on; None where the run's folder is not there to say."""
    num_held_out: int | None = None
    num_evaluated: int = 0
    """Comparisons of the round's evaluation."""
    num_in_training: int = 0
    """Judgements that were rewards or checks while the round's policy was trained."""
    preference_ids: tuple[str, ...] = ()
    """The first of the preferences."""


class Reached(Value):
    """A model that the principle or the decision helped to make."""

    model: TracedModel
    how: str


class Influence(Value):
    """What was made of a principle or of a decision."""

    subject: str
    """What was followed: `principle ID` or `comparison ID`, for example."""
    ledger: str
    head: TracedHead
    wordings: tuple[Wording, ...]
    rounds: tuple[RoundUse, ...]
    models: tuple[Reached, ...]


def find_test_fraction(runs_dir: Path, run: str) -> float | None:
    """The share of prompts that a run's data sets hold out; None where its folder is not there or is damaged."""
    try:
        fraction = open_run(runs_dir, run).config["config"]["prompts"]["test_fraction"]
    except (RunFolderError, KeyError, TypeError):
        return None
    return float(fraction) if isinstance(fraction, int | float) else None


def follow_principle(ledger: Ledger, principle_id: str, *, find_fraction: FindFraction) -> Influence:
    """Everything that was made of the decisions under a principle."""
    wordings = find_wordings(ledger, principle_id)
    if not wordings:
        known = list_principle_ids(ledger)
        raise InputError(
            f'no decision in this ledger is under a principle "{principle_id[:80]}"',
            where=str(ledger.path),
            fix=describe_names(principle_id, known, noun="the principles"),
        )
    counts = {
        kind.table: count_decided(ledger, principle_id, kind.table) for kind in (Judgement, Comparison, Preference)
    }

    def list_preferences(place: StageOfRun) -> list[tuple[str, str]]:
        return find_preference_ids(ledger, place, principle_id)

    return _follow(
        _Followed(f"principle {principle_id}", principle_id, counts, list_preferences),
        ledger=ledger, wordings=wordings, find_fraction=find_fraction,
    )  # fmt: skip


def follow_decision(ledger: Ledger, prefix: str, *, find_fraction: FindFraction) -> Influence:
    """Everything that was made of one decision: of a comparison, with its judgements, or of a preference."""
    label = find_label(ledger, prefix)
    if label is not None:
        subject, principle = f"preference {label.preference.id}", ""
        preferences, comparisons, judgements = [label.preference], [], []
    else:
        found = find_decision(ledger, prefix)
        comparison = found.comparison
        subject = f"{found.found.table[:-1].replace('_', ' ')} {found.found.id}"
        judgements = [side.judgement.id for side in found.sides if side.judgement is not None]
        comparisons = [] if comparison is None else [comparison.id]
        preferences = [] if comparison is None else find_labels_of(ledger, comparison)
        principle = next(iter(found.principles), "")
    ids = {Judgement.table: judgements, Comparison.table: comparisons, Preference.table: [p.id for p in preferences]}
    counts = {table: count_made_of(ledger, keys, table) for table, keys in ids.items()}

    def list_preferences(place: StageOfRun) -> list[tuple[str, str]]:
        used = {use.record_id for use in find_uses(ledger, ids[Preference.table]) if _place(use) == place}
        return [(one.id, one.prompt_id) for one in preferences if one.id in used]

    return _follow(
        _Followed(subject, principle, counts, list_preferences),
        ledger=ledger, wordings=(), find_fraction=find_fraction,
    )  # fmt: skip


class _Followed(NamedTuple):
    """What is followed, as both functions above find it."""

    subject: str
    principle_id: str
    """Empty for a preference, which may be of several."""
    counts: dict[str, list[UsedCount]]
    """Table -> its uses."""
    list_preferences: Callable[[StageOfRun], list[tuple[str, str]]]
    """The preferences in a stage, each with its prompt's id."""


def _follow(
    followed: _Followed, *, ledger: Ledger, wordings: Iterable[tuple[str, int]], find_fraction: FindFraction
) -> Influence:
    rounds = [
        _describe_round(followed, key, ledger=ledger, find_fraction=find_fraction)
        for key in sorted({
            (one.place.run, one.place.round, one.constitution_id or "")
            for uses in followed.counts.values()
            for one in uses
        })
    ]  # fmt: skip
    head = ledger.head()
    return Influence(
        subject=followed.subject,
        ledger=str(ledger.path),
        head=TracedHead(seq=head.seq, hex=head.hex, is_in_chain=True),
        wordings=tuple(
            Wording(digest=digest, text=ledger.kept_text(digest), num_comparisons=num) for digest, num in wordings
        ),
        rounds=tuple(rounds),
        models=tuple(_reach(ledger, rounds)),
    )


def _describe_round(
    followed: _Followed, key: tuple[str, int, str], *, ledger: Ledger, find_fraction: FindFraction
) -> RoundUse:
    run, number, constitution_id = key

    def count(table: str, *stages: str) -> int:
        return sum(
            one.num
            for one in followed.counts[table]
            if (one.place.run, one.place.round, one.constitution_id or "") == key and one.place.stage in stages
        )

    constitution = ledger.get(Constitution, constitution_id) if constitution_id else None
    weights = {} if constitution is None else {one.id: one.weight for one in constitution.principles}
    preferences = followed.list_preferences(StageOfRun(run, number, PREFERENCES.folder))
    fraction = find_fraction(run) if preferences else None
    held_out = None if fraction is None else _count_held_out(ledger, run, number, preferences, fraction=fraction)
    return RoundUse(
        run=run,
        round=number,
        constitution_id=constitution_id,
        constitution="" if constitution is None else constitution.name,
        weight=weights.get(followed.principle_id),
        num_judgements=count(Judgement.table, JUDGEMENTS.folder),
        num_comparisons=count(Comparison.table, JUDGEMENTS.folder),
        num_preferences=len(preferences),
        num_train=None if held_out is None else len(preferences) - held_out,
        num_held_out=held_out,
        num_evaluated=count(Comparison.table, EVALUATION.folder),
        num_in_training=count(Judgement.table, POLICY.folder),
        preference_ids=tuple(preference_id for preference_id, _ in preferences[:MAX_IDS]),
    )


def _count_held_out(
    ledger: Ledger, run: str, number: int, preferences: Sequence[tuple[str, str]], *, fraction: float
) -> int:
    """How many of the preferences are of prompts that the round's data set holds out."""
    sql = "SELECT DISTINCT record_id FROM uses WHERE run = ? AND round = ? AND stage IN (?, ?) AND record_table = ?"
    rows = ledger.rows(sql, (run, number, PROMPTS.folder, PREFERENCES.folder, Prompt.table))
    held_out = find_held_out((key for (key,) in rows), test_fraction=fraction)
    return sum(prompt_id in held_out for _, prompt_id in preferences)


def _reach(ledger: Ledger, rounds: Sequence[RoundUse]) -> Iterator[Reached]:
    """The models that were made of the rounds' decisions, in the order of runs and rounds."""
    for run in dict.fromkeys(one.run for one in rounds):
        used = [one for one in rounds if one.run == run]
        reached: dict[str, str] = {}
        places = list_places(ledger, run)
        for place in sorted(places, key=lambda place: (place.round, place.stage)):
            if place.stage not in (REWARD_MODEL.folder, POLICY.folder):
                continue
            for model in find_traced_models(ledger, place):
                ways = [_describe_training(model, used) if model.learns_preferences else ""]
                ways += [_describe_policy(model, used, reached=reached)] if model.kind == "policy" else []
                how = join_words([way for way in ways if way])
                if how:
                    reached[model.model_id] = model.kind
                    yield Reached(model=model, how=how)


def _describe_training(model: TracedModel, used: Sequence[RoundUse]) -> str:
    """How a model that learns preferences had those of its round and of earlier ones; empty where it had none."""
    before = [one for one in used if one.round <= model.round and one.num_preferences]
    if not before or model.given_data:
        return ""
    total = sum(one.num_preferences for one in before)
    if any(one.num_train is None for one in before):
        said = "trained on or held out: the run's folder, which says it, is not there"
        return f"{format_count(total, 'preference')}, {said}"
    train = sum(one.num_train or 0 for one in before)
    held_out = total - train
    parts = [f"trained on {format_count(train, 'preference')}"] if train else []
    parts += [f"measured on {format_count(held_out, 'held-out preference')}"] if held_out else []
    return join_words(parts)


def _describe_policy(model: TracedModel, used: Sequence[RoundUse], *, reached: dict[str, str]) -> str:
    """How the decisions came into a policy: by its reward model, by the judge's rewards, or by an earlier policy."""
    parts = []
    if reached.get(model.made_from.get("reward model", "")):
        parts.append("trained against that reward model")
    asked = sum(one.num_in_training for one in used if one.round == model.round)
    if asked:
        parts.append(f"{format_count(asked, 'judgement')} while it was trained")
    if reached.get(model.made_from.get("trained from", "")):
        parts.append("trained from that policy")
    return join_words(parts)


def _place(use: Use) -> StageOfRun:
    return StageOfRun(use.run, use.round, use.stage)
