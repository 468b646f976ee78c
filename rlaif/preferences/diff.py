"""Comparisons under two principle files -> which pairs change their winner, by which edit, and what training gets.

Labels and filters are those of pairing. The judges' labels are compared before people's labels calibrate or replace
them. Asks no judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.config.preferences import PreferencesConfig
from rlaif.constitution.diff import Edit, apply_edits, find_edits
from rlaif.constitution.selection import draw_principle, weighted_principles
from rlaif.preferences.label import LabelRule
from rlaif.preferences.pairing import judge_pair, pair_comparisons
from rlaif.records import Comparison, Constitution, Estimate, Panel, Principle, Sample, Tally, Value, Verdict
from rlaif.stats.intervals import share_interval
from rlaif.stats.logits import canonical_pair
from rlaif.stats.ranks import is_same, order_descending

Key = tuple[str, str]
"""Sample ids of a pair in canonical order."""


class PairChange(Value):
    """A pair whose winner is another one under the new file."""

    prompt_id: str
    sample_ids: tuple[str, str]
    old_label: float
    """Probability that the first of the pair is preferred."""
    new_label: float
    flipped_by: tuple[str, ...]
    """Principles whose edit alone makes the other response win; none: only several edits together do."""


class EditEffect(Value):
    """What one edit does by itself, all others left as they were."""

    edit: Edit
    flips: Estimate | None
    """Share of the pairs whose winner the edit changes; None where no pair has a label to compare."""
    num_flips: int
    own_flips: Estimate | None
    """Share of the pairs on which the principle's new text changed the judge's verdict under this principle alone."""


class PreferenceDiff(Value):
    num_pairs: int
    num_failed: int
    """Pairs without a label under one of the files, because a judgement failed; in no figure below."""
    edits: tuple[EditEffect, ...]
    flips: tuple[PairChange, ...]
    """The pairs whose labels move furthest come first."""
    flipped: Estimate | None
    label_move: Estimate | None
    """Mean distance between a pair's old and new label."""
    num_flipped_together: int
    """Flips that no edit makes alone."""
    old_tally: Tally
    """Preferences that training gets under the old file, and what is dropped for which reason."""
    new_tally: Tally
    num_only_old: int
    """Pairs that training gets under the old file only."""
    num_only_new: int
    num_flipped_kept: int
    """Pairs in both sets whose chosen and rejected response change places."""


class PairLabels(NamedTuple):
    """What judges say of every pair under both files."""

    prompts: dict[Key, str]
    """Every pair -> its prompt."""
    old: dict[Key, float | str]
    """The probability that the first of a pair is preferred, or why the pair has no label."""
    new: dict[Key, float | str]


def diff_preferences(
    comparisons: Sequence[Comparison],
    *,
    old: Constitution,
    new: Constitution,
    pairs: Sequence[tuple[Sample, Sample]],
    config: PreferencesConfig,
    draw_seed: int | None = None,
    seed: int = 0,
    panel: Panel | None = None,
) -> PreferenceDiff:
    """Labels and preferences of `pairs` under both files, compared.

    comparisons: under the principles of both files, by the judges of the panel; without a panel all who compared
    anything count alike. draw_seed: each pair is asked under one principle, drawn with this seed. seed: decides what
    the options of `config` draw.
    """
    panel = panel or _panel_of(comparisons)
    rule = LabelRule(config, seed=seed, fitted_on=comparisons)
    found = _Found(comparisons, pairs, draw_seed=draw_seed, rule=rule, panel=panel)
    comparisons = [comparison for comparison in comparisons if comparison.sample_ids in found.keys]
    edits = find_edits(old, new)
    before, after = found.labels(weighted_principles(old)), found.labels(weighted_principles(new))
    both = [key for key in found.keys if key in before and key in after]
    prompts = [found.keys[key] for key in both]
    alone = {edit.principle_id: found.labels(apply_edits(old, [edit])) for edit in edits}
    flips = [
        PairChange(
            prompt_id=found.keys[key],
            sample_ids=key,
            old_label=before[key],
            new_label=after[key],
            flipped_by=tuple(
                name for name, labels in alone.items() if key in labels and decide(labels[key]) == decide(after[key])
            ),
        )
        for key in both
        if decide(before[key]) != decide(after[key])
    ]
    kept = [
        _kept(comparisons, constitution=file, pairs=pairs, config=config, draw_seed=draw_seed, seed=seed, panel=panel)
        for file in (old, new)
    ]
    shared = kept[0].labels.keys() & kept[1].labels.keys()
    flips = sorted(flips, key=lambda flip: flip.sample_ids)
    largest_first = order_descending([abs(flip.new_label - flip.old_label) for flip in flips])
    return PreferenceDiff(
        num_pairs=len(found.keys),
        num_failed=len(found.keys) - len(both),
        edits=tuple(_effect(edit, alone[edit.principle_id], before, both=both, found=found) for edit in edits),
        flips=tuple(flips[place] for place in largest_first),
        flipped=share_interval([float(decide(before[k]) != decide(after[k])) for k in both], clusters=prompts),
        label_move=share_interval([abs(after[k] - before[k]) for k in both], clusters=prompts),
        num_flipped_together=sum(not flip.flipped_by for flip in flips),
        old_tally=kept[0].tally,
        new_tally=kept[1].tally,
        num_only_old=len(kept[0].labels.keys() - shared),
        num_only_new=len(kept[1].labels.keys() - shared),
        num_flipped_kept=sum(decide(kept[0].labels[k]) != decide(kept[1].labels[k]) for k in shared),
    )


def label_pairs(
    comparisons: Sequence[Comparison],
    *,
    old: Constitution,
    new: Constitution,
    pairs: Sequence[tuple[Sample, Sample]],
    config: PreferencesConfig,
    draw_seed: int | None = None,
    seed: int = 0,
    panel: Panel | None = None,
) -> PairLabels:
    """The labels behind `diff_preferences`, of which the arguments are."""
    rule = LabelRule(config, seed=seed, fitted_on=comparisons)
    found = _Found(comparisons, pairs, draw_seed=draw_seed, rule=rule, panel=panel or _panel_of(comparisons))
    return PairLabels(found.keys, *(found.judge(weighted_principles(file)) for file in (old, new)))


def _panel_of(comparisons: Sequence[Comparison]) -> Panel:
    """All who compared anything, with one weight."""
    return Panel.of(*dict.fromkeys(comparison.judge_id for comparison in comparisons))


def decide(label: float) -> Verdict:
    """Which response a label prefers."""
    return "tie" if is_same(label, 0.5) else "first" if label > 0.5 else "second"


class _Found:
    """The comparisons of each pair, by principle and text."""

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        pairs: Sequence[tuple[Sample, Sample]],
        *,
        draw_seed: int | None,
        rule: LabelRule,
        panel: Panel,
    ) -> None:
        self._draw_seed, self._rule, self._panel = draw_seed, rule, panel
        self.keys: dict[Key, str] = {canonical_pair(a.id, b.id): a.prompt_id for a, b in pairs}
        """Pair -> its prompt."""
        self._by_pair: dict[Key, dict[str, dict[tuple[str, str], Comparison]]] = {key: {} for key in self.keys}
        for comparison in comparisons:
            if comparison.sample_ids in self._by_pair:
                asked = comparison.principle
                by_principle = self._by_pair[comparison.sample_ids].setdefault(comparison.judge_id, {})
                by_principle[asked.wording] = comparison

    def labels(self, principles: Sequence[Principle]) -> dict[Key, float]:
        """The label of every pair that was compared under all of these principles, or under the one drawn for the pair.

        Without principles there are no labels.
        """
        judged = self.judge(principles)
        return {key: label for key, label in judged.items() if not isinstance(label, str)}

    def judge(self, principles: Sequence[Principle]) -> dict[Key, float | str]:
        """The label of every pair, or why it has none."""
        labels: dict[Key, float | str] = {}
        for key, by_judge in self._by_pair.items():
            needed = principles
            if principles and self._draw_seed is not None:
                needed = [draw_principle(principles, key, seed=self._draw_seed)]
            judged = judge_pair(by_judge, needed, panel=self._panel, rule=self._rule) if needed else "no_principle"
            labels[key] = judged if isinstance(judged, str) else judged.label.p_first
        return labels


def _effect(
    edit: Edit, alone: Mapping[Key, float], before: Mapping[Key, float], *, both: Sequence[Key], found: _Found
) -> EditEffect:
    flips = {key: decide(alone[key]) != decide(before[key]) for key in both if key in alone}
    own: dict[Key, bool] = {}
    if edit.old is not None and edit.new is not None and edit.old.wordings != edit.new.wordings:
        one, other = found.labels([edit.old]), found.labels([edit.new])
        own = {key: decide(one[key]) != decide(other[key]) for key in both if key in one and key in other}
    return EditEffect(
        edit=edit,
        flips=_share(flips, found),
        num_flips=sum(flips.values()),
        own_flips=_share(own, found),
    )


def _share(flips: Mapping[Key, bool], found: _Found) -> Estimate | None:
    return share_interval([float(flip) for flip in flips.values()], clusters=[found.keys[key] for key in flips])


class _Kept(NamedTuple):
    labels: dict[Key, float]
    tally: Tally


def _kept(
    comparisons: Sequence[Comparison],
    *,
    constitution: Constitution,
    pairs: Sequence[tuple[Sample, Sample]],
    config: PreferencesConfig,
    draw_seed: int | None,
    seed: int,
    panel: Panel,
) -> _Kept:
    if config.kind == "choice":  # compared pair by pair, as the choice ranks them
        config = config.model_copy(update={"kind": "ranking"})
    pairing = pair_comparisons(
        comparisons,
        constitution=constitution,
        config=config,
        round=0,
        pairs=pairs,
        draw_seed=draw_seed,
        seed=seed,
        panel=panel,
    )
    labels = {
        canonical_pair(*preference.sample_ids): preference.label
        for preference in pairing.preferences
        if len(preference.sample_ids) == 2
    }
    return _Kept(labels, pairing.tally)
