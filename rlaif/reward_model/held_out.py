"""Rewards on held-out pairs and choices -> how often and how surely the reward model agrees with the labels.

Every figure is weighted as the rows are in training. Ties (label one half) have no truth to agree with and are left
out. Does not run models.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rlaif.records import Estimate, Value
from rlaif.reward_model.data import Choice, Item, Pair, Rated, places_of
from rlaif.stats.intervals import share_interval
from rlaif.stats.logits import cross_entropy, entropy


class RatedQuality(Value):
    """Held-out ratings and thumbs."""

    num: int
    correlation: float | None
    """Of the rewards with the ratings, brought to one scale, and the thumbs; None where either do not differ."""


class HeldOut(Value):
    accuracy: Estimate | None
    """Share of the rows whose most probable response has the highest reward, by the rows' weights; None without any."""
    num_pairs: int
    """Pairs and choices that the accuracy counts."""
    num_ties: int
    log_loss: float | None
    """Mean cross-entropy of the labels in nats, by the rows' weights as in training; a coin has ln 2 = .693."""
    log_loss_floor: float | None
    """The mean entropy of the labels, by the same weights."""
    accuracy_at_most: float = 1.0
    """The highest accuracy that any rewards could have; below 1 where rows prefer both of the same two responses."""
    rated: RatedQuality | None = None
    """None where no rating or thumb is held out; the other figures are about pairs and choices alone."""


class Ensemble(Value):
    """What the folder of several reward models holds, and how the mean of their rewards does."""

    num_members: int
    bootstrap: bool
    held_out: HeldOut
    """Of the mean of the members' rewards."""
    accuracies: tuple[float | None, ...]
    """Held-out accuracy of each member."""
    spread: float | None
    """Standard deviation over the members of a held-out response's reward, as a mean over the responses; each member's
    rewards less their mean. None where nothing is held out."""

    @property
    def metrics(self) -> dict[str, float]:
        found = {
            "accuracy": self.held_out.accuracy.mean if self.held_out.accuracy else None,
            "log_loss": self.held_out.log_loss,
            "num_members": float(self.num_members),
            "member_spread": self.spread,
        }
        return {name: value for name, value in found.items() if value is not None}


def measure_held_out(items: Sequence[Item], rewards: Sequence[float]) -> HeldOut:
    """Accuracy and log loss of the rewards, which are those of the sequences that the items point at."""
    pairs = [item for item in items if not isinstance(item, Rated)]
    rated = _measure_rated([item for item in items if isinstance(item, Rated)], rewards)
    if not pairs:
        return HeldOut(accuracy=None, num_pairs=0, num_ties=0, log_loss=None, log_loss_floor=None, rated=rated)
    weight = math.fsum(pair.weight for pair in pairs)
    decided = [(pair, right) for pair in pairs if (right := _is_right(pair, rewards)) is not None]
    return HeldOut(
        accuracy=share_interval(
            [right for _, right in decided],
            clusters=[pair.prompt_id for pair, _ in decided],
            weights=[pair.weight for pair, _ in decided],
        ),
        num_pairs=len(decided),
        num_ties=len(pairs) - len(decided),
        log_loss=math.fsum(pair.weight * _cross_entropy(pair, rewards) for pair in pairs) / weight,
        log_loss_floor=math.fsum(pair.weight * entropy(_shares(pair)) for pair in pairs) / weight,
        accuracy_at_most=_at_most([pair for pair, _ in decided]),
        rated=rated,
    )


def _measure_rated(rated: Sequence[Rated], rewards: Sequence[float]) -> RatedQuality | None:
    if not rated:
        return None
    targets, own = [item.target for item in rated], [rewards[item.place] for item in rated]
    differ = len(set(targets)) > 1 and len(set(own)) > 1
    return RatedQuality(num=len(rated), correlation=statistics.correlation(own, targets) if differ else None)


def _at_most(decided: Sequence[Pair | Choice]) -> float:
    """The highest accuracy that rewards can reach: of rows about the same responses, only one best can be right."""
    by_responses: dict[frozenset[int], dict[int, float]] = {}
    for item in decided:
        shares, places = _shares(item), places_of(item)
        best = places[shares.index(max(shares))]
        found = by_responses.setdefault(frozenset(places), {})
        found[best] = found.get(best, 0.0) + item.weight
    if all(len(found) == 1 for found in by_responses.values()):
        return 1.0
    total = math.fsum(weight for found in by_responses.values() for weight in found.values())
    return math.fsum(max(found.values()) for found in by_responses.values()) / total


def _shares(item: Pair | Choice) -> tuple[float, ...]:
    return item.shares if isinstance(item, Choice) else (item.label, 1 - item.label)


def _is_right(item: Pair | Choice, rewards: Sequence[float]) -> float | None:
    """1 where the most probable response has the highest reward, a share where rewards tie, else 0; None for a tie."""
    shares, own = _shares(item), [rewards[place] for place in places_of(item)]
    if shares.count(max(shares)) > 1:
        return None
    most = [place for place, reward in enumerate(own) if reward == max(own)]
    return (shares.index(max(shares)) in most) / len(most)


def _cross_entropy(item: Pair | Choice, rewards: Sequence[float]) -> float:
    """-sum q log softmax(r), finite for all rewards; of a pair -q log sigmoid(margin) - (1-q) log sigmoid(-margin)."""
    if isinstance(item, Pair):
        margin = rewards[item.chosen] - rewards[item.rejected]
        return cross_entropy(item.label, margin)
    own = [rewards[place] for place in item.places]
    total = max(own) + math.log(math.fsum(math.exp(reward - max(own)) for reward in own))
    return math.fsum(share * (total - reward) for share, reward in zip(item.shares, own, strict=True))
