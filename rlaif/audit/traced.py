"""The values that lineages are made of: models, judges, principles and rounds, and how they are found in a ledger.

Counts and ids only: no text of a prompt or a response is in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Literal

from rlaif.config.methods import BY_PREFERENCES
from rlaif.ledger.lineage import StageOfRun
from rlaif.ledger.store import Ledger
from rlaif.records import Model, PolicyCard, RewardModelCard, Value
from rlaif.run.stages import POLICY, REWARD_MODEL


class TracedHead(Value):
    """A head of the ledger's chain."""

    seq: int
    hex: str
    is_in_chain: bool
    """Whether this ledger has that row with that head."""


class TracedModel(Value):
    """A reward model or a policy, by its card."""

    kind: Literal["reward model", "policy"]
    card_id: str
    model_id: str
    name: str
    """The folder that it was loaded from."""
    weights: str
    """Digest of its weights; empty where the ledger has no fingerprint of it."""
    run: str
    round: int
    made_from: dict[str, str]
    """What it was made from -> the id or digest of that."""
    learns_preferences: bool
    """Whether it was trained on preferences itself: a reward model, or a policy by DPO or KTO."""
    given_data: str = ""
    """Preferences of the user that it was trained on in place of the run's; empty: the run's own."""


class TracedJudge(Value):
    """The judgements that one judge gave by one template in one stage."""

    stage: str
    judge_id: str
    name: str
    template_digest: str
    """Empty where the exact prompts are not known."""
    is_imported: bool
    num_judgements: int


class TracedPrinciple(Value):
    """A principle of a round's constitution."""

    id: str
    text: str
    digest: str
    weight: float


class TracedRound(Value):
    """What a round used, counted."""

    run: str
    round: int
    constitution_id: str
    """Empty where the ledger does not have it."""
    constitution: str
    constitution_digest: str
    """Digest of the principle file."""
    principles: tuple[TracedPrinciple, ...]
    prompts: dict[str, int]
    """By their source."""
    samples: dict[str, int]
    """By the policy that they were drawn from."""
    judges: tuple[TracedJudge, ...]
    failed: dict[str, int]
    """Failed judgements of all stages, by cause."""
    comparisons: dict[str, int]
    """By principle, without those of the evaluation."""
    preferences: dict[str, int]
    """By source: judge or human."""
    labels: dict[str, int]
    """People's labels that went into the preferences, by annotator."""
    calibration_ids: tuple[str, ...]
    models: tuple[TracedModel, ...]


def find_traced_models(ledger: Ledger, place: StageOfRun) -> list[TracedModel]:
    """The models whose cards a stage wrote when it was last made; none for a stage that trains nothing."""
    if place.stage == REWARD_MODEL.folder:
        cards: list[RewardModelCard | PolicyCard] = [*ledger.used(*place, RewardModelCard)]
    elif place.stage == POLICY.folder:
        cards = [*ledger.used(*place, PolicyCard)]
    else:
        return []
    models = ledger.find(Model, [card.model_id for card in cards])
    return [trace_card(card, models.get(card.model_id), place=place) for card in cards]


def find_models_by_weights(ledger: Ledger, weights: str) -> list[TracedModel]:
    """The models with these weights, newest card first."""
    sql = "SELECT id FROM models WHERE content ->> '$.weights' = ?"
    model_ids = [key for (key,) in ledger.rows(sql, (weights,))]
    found: dict[str, TracedModel] = {}
    for table in (PolicyCard.table, RewardModelCard.table):
        sql = (
            f"SELECT DISTINCT u.run, u.round, u.stage FROM {table} AS c CROSS JOIN uses AS u ON u.record_id = c.id"
            " WHERE c.model_id = ? ORDER BY u.seq DESC"
        )
        for model_id in model_ids:
            for place in ledger.rows(sql, (model_id,)):
                for model in find_traced_models(ledger, StageOfRun(*place)):
                    if model.model_id == model_id:
                        found.setdefault(f"{model.card_id} {model.run} {model.round}", model)
    return list(found.values())


def name_models(ledger: Ledger, model_ids: Iterable[str]) -> dict[str, str]:
    """A short name of each model that the ledger knows: the last part of its folder or hub id, and of its own id."""
    return {key: f"{_shorten(model)} ({key[:12]})" for key, model in ledger.find(Model, model_ids).items()}


def _shorten(model: Model) -> str:
    return PurePath(model.observed.name or model.weights).name or model.weights


def trace_card(card: RewardModelCard | PolicyCard, model: Model | None, *, place: StageOfRun) -> TracedModel:
    """The model of a card that a stage used. model: its fingerprint; None where the ledger does not have it."""
    if isinstance(card, RewardModelCard):
        made_from = {"base model": card.base_model_id, "preference files": card.dataset_digest}
        given = card.config.get("preferences")
    else:
        parts = {
            "reference policy": card.reference_model_id,
            "trained from": card.trained_from_id or card.reference_model_id,
            "reward model": card.reward_model_id,
        }
        made_from = {name: key for name, key in parts.items() if key is not None}
        given = card.config.get("preferences")
    return TracedModel(
        kind="reward model" if isinstance(card, RewardModelCard) else "policy",
        card_id=card.id,
        model_id=card.model_id,
        name="" if model is None else model.observed.name,
        weights="" if model is None else model.weights,
        run=place.run,
        round=place.round,
        made_from=made_from,
        given_data=str(given) if given else "",
        learns_preferences=isinstance(card, RewardModelCard) or _learns(card),
    )


def _learns(card: PolicyCard) -> bool:
    """Whether one of a policy's methods learnt preferences without a reward model."""
    return any(name in BY_PREFERENCES for name in (card.method, *card.chain))
