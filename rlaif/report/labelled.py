"""People's labels, the judge's labels of the same pairs and the models -> what the part "People and the judge" shows.

Takes values, computes with `rlaif.calibration` and `rlaif.evaluation`, and renders nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.calibration.human_rows import find_whole, pair_of
from rlaif.calibration.judged import FittedItems, Judged, fit_items
from rlaif.calibration.label_items import read_labelled
from rlaif.calibration.labels import OVERALL
from rlaif.calibration.people import AgreementReport, report_agreement
from rlaif.calibration.spot_check import ItemKey
from rlaif.console import say
from rlaif.errors import DataError, FunctionError
from rlaif.evaluation.leanings import Leaning, TwiceLabelled, compute_leanings
from rlaif.evaluation.measures import Measure, compute_measures, measure_samples
from rlaif.evaluation.people import (
    LEAST,
    PredictedPair,
    compare_predictors,
    compare_reliability,
    describe_effect,
    estimate_accuracy,
)
from rlaif.evaluation.policy import Change, PolicyPair
from rlaif.evaluation.reward_model import ScoredPair
from rlaif.evaluation.text_measures import load_text_measure
from rlaif.records import CalibrationCard, Constitution, HumanLabel, Preference, Prompt, RewardModelCard, Sample
from rlaif.report.input import PeopleAndJudge, ReadoutLoss, ShownDisagreement
from rlaif.reward_model.source_trials import read_trials
from rlaif.stats.logits import P_FIRST, canonical_pair, log_odds

SHOWN_DISAGREEMENTS = 6
WORDS = "words"
"""The measure that is always set beside labels: length is what judges like most often."""
AS_IT_WAS, CALIBRATED, REWARD_MODEL = "the judge as it was", "the judge, calibrated", "the reward model"


@dataclass(frozen=True)
class LabelledRound:
    """What people's labels are set beside: the judge's labels of a run's rounds up to this one."""

    number: int
    card: CalibrationCard
    labels: Sequence[HumanLabel]
    """Labels of these rounds' pairs; none where the calibration was fitted to another run's."""
    judged: Judged
    samples: Mapping[str, Sample]
    prompts: Mapping[str, Prompt]
    preferences: Sequence[Preference]
    """This round's, as trained on."""
    reward_model: RewardModelCard | None
    constitution: Constitution
    is_scaled: bool
    """Whether the judges' log-odds claim a probability."""

    @property
    def texts(self) -> dict[str, str]:
        return {sample.id: sample.text for sample in self.samples.values()}

    def find_drawable(self, rounds: set[int], *, names: set[str] | None = None) -> dict[ItemKey, str]:
        """The judged items of these rounds under these principles, or under all, each with its prompt's id.

        Two equal texts are no item: nobody is asked about them.
        """
        found = {}
        for key in self.judged:
            first, second = (self.samples[sample_id] for sample_id in key[0])
            if first.round in rounds and (names is None or key[1] in names) and first.text != second.text:
                found[key] = first.prompt_id
        return found


def collect_people(
    labelled: LabelledRound,
    *,
    held_out: Sequence[ScoredPair],
    measures: Mapping[str, Measure],
    moved: Mapping[str, Change],
    pairs: Sequence[PolicyPair],
    prompts: Mapping[str, Prompt],
) -> PeopleAndJudge:
    """All figures of the part. held_out: preferences that the reward model was not trained on, with their rewards.

    moved: how the policy moved on each measure, between the responses of `pairs` to `prompts`.
    """
    texts = labelled.texts
    found = fit_items(labelled.labels, labelled.judged, texts=texts, is_scaled=labelled.is_scaled)
    here = labelled.find_drawable({labelled.number})
    effect = describe_effect(labelled.card.map, labelled.judged, items=here, texts=texts)
    leanings = tuple(_find_leanings(labelled, measures=measures, moved=moved, pairs=pairs, prompts=prompts))
    if found is None:
        return PeopleAndJudge(effect=effect, leanings=leanings)
    rounds = {labelled.samples[item.key[0][0]].round for item in found.items}
    names = {item.key[1] for item in found.items}
    before, after = compare_reliability(found)
    agreement = report_agreement(*read_labelled(labelled.labels, labelled.judged, texts=texts), by_prompt=True)
    return PeopleAndJudge(
        agreement=agreement,
        is_drawn=found.is_weighted,
        reliability_before=before,
        reliability_after=after,
        accuracy=estimate_accuracy(found, judged=labelled.judged, drawable=labelled.find_drawable(rounds, names=names)),
        disagreements=tuple(_show_disagreements(labelled, found, agreement)),
        effect=effect,
        predictors=compare_predictors(_predict(labelled, found, held_out)),
        readout=_find_readout(labelled.reward_model),
        leanings=leanings,
    )


def _find_readout(card: RewardModelCard | None) -> ReadoutLoss | None:
    metrics = {} if card is None else card.metrics
    names = ("human_log_loss_with", "human_log_loss_without", "human_weight")
    if not metrics.keys() >= set(names):
        return None
    return ReadoutLoss(
        with_people=metrics[names[0]],
        without=metrics[names[1]],
        weight=metrics[names[2]],
        by_source=read_trials(metrics),
    )


def choose_for_trained(
    labels: Sequence[HumanLabel], pairs: Sequence[PolicyPair]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Ids of both responses -> how much people's labels of the pair as a whole are for the trained one, and the
    probability with which the pair was drawn."""
    of_pair = {canonical_pair(*key): key for pair in pairs for key in [(pair.start.id, pair.trained.id)]}
    found: dict[tuple[str, str], list[HumanLabel]] = {}
    for label in labels:
        key = of_pair.get(pair_of(label))
        if key is not None and label.principle_id == OVERALL and label.inclusion_probability is not None:
            found.setdefault(key, []).append(label)
    return {
        key: (
            statistics.fmean(_for_trained(label, trained=key[1]) for label in given),
            statistics.fmean(label.inclusion_probability or 1.0 for label in given),
        )
        for key, given in found.items()
    }


def _for_trained(label: HumanLabel, *, trained: str) -> float:
    chosen = P_FIRST[label.choice]
    return chosen if label.sample_ids[0] == trained else 1 - chosen


def _find_leanings(
    labelled: LabelledRound,
    *,
    measures: Mapping[str, Measure],
    moved: Mapping[str, Change],
    pairs: Sequence[PolicyPair],
    prompts: Mapping[str, Prompt],
) -> Sequence[Leaning]:
    """The leanings of this round's labels to the configured measures, and to words."""
    if WORDS not in moved:
        own = {WORDS: load_text_measure(WORDS)}
        measures = {**measures, **own}
        moved = {**moved, **compute_measures(pairs, prompts=prompts, measures=own)}
    twice = list(_label_twice(labelled))
    ids = dict.fromkeys(sample_id for pair in twice for sample_id in pair.sample_ids)
    used = [labelled.samples[sample_id] for sample_id in ids]
    try:
        values = measure_samples(used, prompts=labelled.prompts, measures=measures)
    except (DataError, FunctionError) as error:  # the rest of the report does not need the measures of these responses
        say(f"what the labels lean to is left out: {error.sentence}")
        return ()
    return compute_leanings(twice, values=values, policy=moved)


def _label_twice(labelled: LabelledRound) -> Sequence[TwiceLabelled]:
    """This round's pairs that the judge labelled and that are trained on."""
    return [
        TwiceLabelled(preference.prompt_id, pair, before=labelled.judged[pair, OVERALL].p_first, after=preference.label)
        for preference in labelled.preferences
        if preference.kind == "pair"
        for pair in [(preference.sample_ids[0], preference.sample_ids[1])]
        if (pair, OVERALL) in labelled.judged
    ]


def _show_disagreements(
    labelled: LabelledRound, found: FittedItems, agreement: AgreementReport
) -> Sequence[ShownDisagreement]:
    """The disagreements of which the judge was surest."""
    by_key = {(*item.key[0], item.key[1]): (item, p) for item, p in zip(found.items, found.out_of_fold, strict=True)}
    listed = agreement.judge.disagreements if agreement.judge else ()
    shown = []
    for one in listed:
        item, calibrated = by_key[one.key[0], one.key[1], one.key[2]]
        first, second = (labelled.samples[sample_id] for sample_id in item.key[0])
        shown.append(
            ShownDisagreement(
                principle=one.principle,
                sample_ids=(first.id, second.id),
                prompt=labelled.prompts[item.prompt_id].messages,
                first=first.text,
                second=second.text,
                choices=one.choices,
                p_first=item.judged.p_first,
                calibrated=calibrated,
            )
        )
    return sorted(shown, key=lambda one: (-abs(one.p_first - 0.5), one.sample_ids))[:SHOWN_DISAGREEMENTS]


def _predict(labelled: LabelledRound, found: FittedItems, held_out: Sequence[ScoredPair]) -> Sequence[PredictedPair]:
    """People's held-out pairs that the judge labelled too, by judge and reward model.

    The judge's calibrated label is by a map that did not see the pair's prompt.
    """
    known: dict[tuple[str, str, str] | None, tuple[float, float]] = {}
    for item, calibrated in zip(found.items, found.out_of_fold, strict=True):
        if find_whole(item.labels, labelled.constitution):
            first, second = (labelled.samples[sample_id].text for sample_id in item.key[0])
            logits = item.judged.read_logit, log_odds(calibrated, least=LEAST)
            known[item.prompt_id, first, second] = logits
            known[item.prompt_id, second, first] = -logits[0], -logits[1]
    pairs = []
    for pair in held_out:
        key = None if pair.responses is None or pair.source != "human" else (pair.prompt_id, *pair.responses)
        if key in known:
            as_it_was, calibrated = known[key]
            by_reward = pair.score_first - pair.score_second
            by_name = {AS_IT_WAS: as_it_was, CALIBRATED: calibrated, REWARD_MODEL: by_reward}
            pairs.append(PredictedPair(pair.prompt_id, pair.label, by_name))
    return pairs
