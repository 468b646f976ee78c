"""A judged round -> what is known of its responses besides the judge's word: texts, measures, people's choices.

What `rlaif judge-check` and the report bring to the judge's health. Asks no model.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from rlaif.constitution.selection import weighted_principles
from rlaif.evaluation.measures import load_measure, measure_samples
from rlaif.judge_health.agreement import by_judge_and_key, compare_panel
from rlaif.judge_health.health import compute_judge_health
from rlaif.judge_health.length_effect import Pair, PairFacts
from rlaif.judge_health.panel import CheckedJudge, PanelAgreement
from rlaif.preferences.pairing import label_pairs
from rlaif.records import (
    Comparison,
    FailedJudgement,
    HumanLabel,
    Judgement,
    Model,
    Prompt,
    Question,
    Sample,
    Verdict,
)
from rlaif.run.stored import is_recorded
from rlaif.run.work import FRONTDESK_MEASURE, Work

_CHOSEN: Mapping[Verdict, float] = {"first": 1.0, "tie": 0.0, "second": -1.0}


def check_judges(work: Work) -> list[CheckedJudge]:
    """The health of each judge that was asked about the round's pairs, in the order of the configuration.

    None of them where no pair was compared.
    """
    comparisons = work.used("3_judgements", Comparison)
    questions = work.used("3_judgements", Question)
    judgements, failures = work.used("3_judgements", Judgement), work.used("3_judgements", FailedJudgement)
    asked_of = {question.id: question.judge_id for question in questions}
    checked = []
    for judge_id in dict.fromkeys(question.judge_id for question in questions) if comparisons else ():
        own = [comparison for comparison in comparisons if comparison.judge_id == judge_id]
        health = compute_judge_health(
            own,
            judgements=[judgement for judgement in judgements if asked_of.get(judgement.question_id) == judge_id],
            failures=[failure for failure in failures if asked_of.get(failure.question_id) == judge_id],
            questions=[question for question in questions if question.judge_id == judge_id],
            constitution=work.constitution,
            facts=gather_facts(work, own),
            draw_seed=work.draw_seed,
        )
        checked.append(CheckedJudge(name=name_judge(work, judge_id), judge_id=judge_id, health=health))
    return checked


def name_judge(work: Work, judge_id: str) -> str:
    """What a judge is called; the beginning of its fingerprint's id tells it from others of that name."""
    model = work.ledger.get(Model, judge_id)
    name = PurePath(model.observed.name).name if model is not None else ""
    return f"{name or 'unnamed'} {judge_id[:8]}"


def find_agreement(work: Work) -> PanelAgreement | None:
    """How far the judges of a panel agree on the round's pairs; None where one judge alone was asked."""
    judged = by_judge_and_key(work.used("3_judgements", Comparison))
    return compare_panel(
        judged,
        names={judge_id: name_judge(work, judge_id) for judge_id in judged},
        constitution=work.constitution,
        draw_seed=work.draw_seed,
    )


def gather_facts(work: Work, comparisons: Sequence[Comparison]) -> PairFacts:
    """Of the round's responses; measures are those that a principle's tag names."""
    prompts = {prompt.id: prompt for prompt in work.used("1_prompts", Prompt)}
    samples = work.used("2_samples", Sample)
    labels = work.used("4_preferences", HumanLabel)
    measured = _measure(work, samples, prompts)
    by_pair = {comparison.sample_ids: comparison.prompt_id for comparison in comparisons}
    whole = label_pairs(comparisons, constitution=work.constitution, draw_seed=work.draw_seed)
    simulated = bool(measured) and FRONTDESK_MEASURE in _measures(work)
    return PairFacts(
        texts={sample.id: sample.text for sample in samples},
        measured=measured,
        labelled=_choices(labels),
        label_weights=_weights(labels),
        overall={pair: (by_pair[pair], label.logit) for pair, label in whole.items() if label.logit is not None},
        is_simulated=simulated or any(label.simulated for label in labels),
    )


def _measures(work: Work) -> tuple[str, ...]:
    """Responses that were recorded are none of the front desk's, whatever the configuration's defaults are."""
    return work.config.evaluation.measures if is_recorded(work) else work.measures


def _measure(work: Work, samples: Sequence[Sample], prompts: Mapping[str, Prompt]) -> dict[tuple[str, str], float]:
    """(sample id, principle id) -> its value by the first tag of the principle that names a measure."""
    tagged = {principle.id: principle.tags for principle in weighted_principles(work.constitution) if principle.tags}
    specs = _measures(work)
    if not tagged or not specs:
        return {}
    values = measure_samples(samples, prompts=prompts, measures={spec: load_measure(spec) for spec in specs})
    return {
        (sample_id, name): numbers[tag]
        for sample_id, numbers in values.items()
        for name, tags in tagged.items()
        for tag in [tag for tag in tags if tag in numbers][:1]
    }


def _choices(labels: Sequence[HumanLabel]) -> dict[tuple[Pair, str], float]:
    """(pair in canonical order, principle) -> the mean choice of all who labelled it, 1 for the first."""
    given: dict[tuple[Pair, str], list[float]] = defaultdict(list)
    for label in labels:
        first, second = label.sample_ids
        sign = 1 if first <= second else -1
        given[(min(first, second), max(first, second)), label.principle_id].append(sign * _CHOSEN[label.choice])
    return {key: statistics.fmean(choices) for key, choices in given.items()}


def _weights(labels: Sequence[HumanLabel]) -> dict[tuple[Pair, str], float]:
    """(pair in canonical order, principle) -> one over its inclusion probability; empty where some label has none."""
    known = [(label, label.inclusion_probability) for label in labels if label.inclusion_probability is not None]
    if len(known) < len(labels):
        return {}
    return {
        ((min(label.sample_ids), max(label.sample_ids)), label.principle_id): 1 / probability
        for label, probability in known
    }
