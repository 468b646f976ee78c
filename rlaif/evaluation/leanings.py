"""Labels of pairs and measures of their responses -> what the labels lean to, before and after people's labels.

The lean of labels to a measure is how much more of it the preferred response of a pair has than the other one. Beside
it stands how the trained policy moved. Knows no judge and measures no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from rlaif.evaluation.policy import Change, compute_change
from rlaif.records import Estimate
from rlaif.records.base import Value

Turn = Literal["turned", "taken away", "given"]


class TwiceLabelled(NamedTuple):
    """A pair with the judge's label, and the label that it was trained on."""

    prompt_id: str
    sample_ids: tuple[str, str]
    before: float
    """Probability that the first is preferred, as the judge said it."""
    after: float
    """The same, with people's labels: calibrated, or people's own."""


class Leaning(Value):
    """How labels lean to a measure, and how the policy moved on it."""

    name: str
    labels: Change
    """Preferred less other response of a pair: by the judge's labels, and by those that were trained on."""
    policy: Change | None = None
    """The measure before and after training; None where it was not measured."""

    @property
    def turn(self) -> Turn | None:
        """What people's labels clearly did to the direction of the lean.

        turned: into its opposite. taken away: there was a clear one, and none is left. given: there was no clear one.
        """
        before, after = _clear_sign(self.labels.before), _clear_sign(self.labels.after)
        change = _clear_sign(self.labels.change)
        if not change or before == after:
            return None
        if not before:
            return "given" if after == change else None
        if change != -before:
            return None
        return "turned" if after == -before else "taken away"

    @property
    def is_followed(self) -> bool:
        """Whether the policy clearly moved as people's labels moved the lean, where these changed its direction."""
        moved = _clear_sign(self.policy.change) if self.policy else 0
        return self.turn is not None and moved != 0 and moved == _clear_sign(self.labels.change)


def compute_leanings(
    pairs: Sequence[TwiceLabelled], *, values: Mapping[str, Mapping[str, float]], policy: Mapping[str, Change]
) -> tuple[Leaning, ...]:
    """The leanings of the labels to every measure. values: sample id -> its measures. policy: how it moved on each.

    A soft label counts as far as it is from one half: (2 p - 1) times the difference of the two responses.
    """
    if not pairs:
        return ()
    names = values[pairs[0].sample_ids[0]]
    return tuple(
        Leaning(
            name=name,
            labels=compute_change(
                [_lean(pair, pair.before, name, values) for pair in pairs],
                [_lean(pair, pair.after, name, values) for pair in pairs],
                prompt_ids=[pair.prompt_id for pair in pairs],
            ),
            policy=policy.get(name),
        )
        for name in names
    )


def _lean(pair: TwiceLabelled, label: float, name: str, values: Mapping[str, Mapping[str, float]]) -> float:
    first, second = (values[sample_id][name] for sample_id in pair.sample_ids)
    return (2 * label - 1) * (first - second)


def _clear_sign(estimate: Estimate | None) -> int:
    """1 or -1 where the interval excludes zero, else 0."""
    if estimate is None or estimate.low <= 0 <= estimate.high:
        return 0
    return 1 if estimate.mean > 0 else -1
