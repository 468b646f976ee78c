"""A ledger of a run whose rounds have a pair, a label, a reward model and a policy each: records, and no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ledger_world import World, keep_world

from rlaif.ledger.store import Ledger
from rlaif.records import Model, ModelObserved, PolicyCard, Preference, Record, RewardModelCard, Use


class Trained(NamedTuple):
    """What a round trained."""

    reward_model: Model
    policy: Model
    reward_card: RewardModelCard
    policy_card: PolicyCard


def make_trained(
    number: int, *, before: Trained | None = None, given: str | None = None, method: str = "ppo"
) -> Trained:
    """given: preferences of the user that the reward model is trained on. method: that of the policy."""
    start = Model(engine="scripted", weights="policy", observed=ModelObserved(name="./policy"))
    reward_model = Model(engine="transformers", weights=f"rm{number}", observed=ModelObserved(name=f"rm/{number}"))
    policy = Model(engine="transformers", weights=f"p{number}", observed=ModelObserved(name=f"policy/{number}"))
    reward_card = RewardModelCard(
        model_id=reward_model.id, base_model_id=start.id, dataset_digest="d" * 64, config={"preferences": given},
        metrics={}, accuracy=None,
    )  # fmt: skip
    policy_card = PolicyCard(
        model_id=policy.id, reference_model_id=start.id, method=method,
        reward_model_id=reward_model.id if method == "ppo" else None,
        trained_from_id=start.id if before is None else before.policy.id, config={"round": number}, metrics={},
    )  # fmt: skip
    return Trained(reward_model, policy, reward_card, policy_card)


def find_preference(world: World) -> Preference:
    return next(record for record in world.records if isinstance(record, Preference))


def keep_round(ledger: Ledger, world: World, trained: Trained, *, number: int, run: str = "loop") -> None:
    """The world of one pair, used by the stages of a round, and what the round trained."""
    keep_world(ledger, world)
    constitution = world.constitution.id
    used: list[tuple[str, list[Record]]] = [
        ("1_prompts", [world.prompt]),
        ("2_samples", [*world.samples]),
        ("3_judgements", [*world.questions, *world.judgements, world.failure, world.comparison]),
        ("4_preferences", [find_preference(world)]),
        ("5_reward_model", [trained.reward_card]),
        ("6_policy", [trained.policy_card]),
    ]
    ledger.append([trained.reward_model, trained.policy, trained.reward_card, trained.policy_card])

    def uses() -> Iterator[Use]:
        for stage, records in used:
            for record in records:
                yield Use(
                    run=run, round=number, stage=stage, record_table=record.table, record_id=record.id,
                    constitution_id=constitution if stage >= "3" else None,
                )  # fmt: skip

    ledger.append(uses())
