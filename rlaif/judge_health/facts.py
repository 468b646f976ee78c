"""A judged round -> what is known of its responses besides the judge's word: texts, measures, people's choices.

What `rlaif judge-check` and the report bring to the judge's health. Asks no model.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

from rlaif.console import say
from rlaif.constitution.selection import weighted_principles
from rlaif.errors import ConfigError, DataError, FunctionError
from rlaif.evaluation.measures import find_wanted, load_measure, measure_samples
from rlaif.judge_health.agreement import by_judge_and_key, compare_panel
from rlaif.judge_health.health import compute_judge_health
from rlaif.judge_health.length_effect import Pair, PairFacts
from rlaif.judge_health.panel import CheckedJudge, PanelAgreement
from rlaif.judging.panel import find_judge_ids
from rlaif.judging.stage import JudgedRound
from rlaif.ledger.store import Ledger
from rlaif.preferences.pairing import label_pairs
from rlaif.records import (
    Comparison,
    HumanLabel,
    Model,
)
from rlaif.stats.logits import P_FIRST, canonical_pair


def check_judges(judged: JudgedRound, *, measures: Sequence[str], has_simulated_measure: bool) -> list[CheckedJudge]:
    """The health of each judge that was asked about the round's pairs, in the order of the configuration.

    Empty where no pair was compared. measures: `module:function`, with values for principles whose tags name them.
    """
    judge_of = {question.id: question.judge_id for question in judged.questions}
    checked = []
    for judge_id in find_judge_ids(judged.questions) if judged.comparisons else ():
        own = [comparison for comparison in judged.comparisons if comparison.judge_id == judge_id]
        health = compute_judge_health(
            own,
            judgements=[answer for answer in judged.judgements if judge_of.get(answer.question_id) == judge_id],
            failures=[failure for failure in judged.failed if judge_of.get(failure.question_id) == judge_id],
            questions=[question for question in judged.questions if question.judge_id == judge_id],
            constitution=judged.constitution,
            facts=gather_facts(judged, own, measures=measures, has_simulated_measure=has_simulated_measure),
            draw_seed=judged.draw_seed,
        )
        checked.append(CheckedJudge(name=name_judge(judged.ledger, judge_id), judge_id=judge_id, health=health))
    return checked


def name_judge(ledger: Ledger, judge_id: str) -> str:
    """What a judge is called; the beginning of its fingerprint's id tells it from others of that name."""
    model = ledger.get(Model, judge_id)
    name = PurePath(model.observed.name).name if model is not None else ""
    return f"{name or 'unnamed'} {judge_id[:8]}"


def find_agreement(judged: JudgedRound) -> PanelAgreement | None:
    """How far the judges of a panel agree on the round's pairs; None where one judge alone was asked."""
    by_judge = by_judge_and_key(judged.comparisons)
    return compare_panel(
        by_judge,
        names={judge_id: name_judge(judged.ledger, judge_id) for judge_id in by_judge},
        constitution=judged.constitution,
        draw_seed=judged.draw_seed,
    )


def gather_facts(
    judged: JudgedRound, comparisons: Sequence[Comparison], *, measures: Sequence[str], has_simulated_measure: bool
) -> PairFacts:
    """What is known of the round's responses: texts, measures that a principle's tag names, and people's choices.

    Responses that were recorded are none of the front desk's, so only the configured measures count for them.
    """
    specs = judged.config.evaluation.measures if judged.is_recorded else measures
    measured = _measure(judged, specs)
    by_pair = {comparison.sample_ids: comparison.prompt_id for comparison in comparisons}
    whole = label_pairs(comparisons, constitution=judged.constitution, draw_seed=judged.draw_seed)
    is_simulated = bool(measured) and has_simulated_measure and not judged.is_recorded
    return PairFacts(
        texts={sample.id: sample.text for sample in judged.samples},
        measured=measured,
        labelled=_choices(judged.labels),
        label_weights=_weights(judged.labels),
        overall={pair: (by_pair[pair], label.logit) for pair, label in whole.items() if label.logit is not None},
        is_simulated=is_simulated or any(label.simulated for label in judged.labels),
    )


def _measure(judged: JudgedRound, specs: Sequence[str]) -> dict[tuple[str, str], float]:
    """(sample id, principle id) -> its value by the first tag of the principle that names a measure."""
    tagged = {principle.id: principle.tags for principle in weighted_principles(judged.constitution) if principle.tags}
    if not tagged or not specs:
        return {}
    try:
        functions = {spec: load_measure(spec) for spec in specs}
        values = measure_samples(judged.samples, prompts=judged.prompts, measures=functions)
    except (ConfigError, DataError, FunctionError) as error:
        # what the judge said can be shown without them; only the effect of length at equal worth cannot
        say(f"the measures are left out: {error.sentence}")
        return {}
    return {
        (sample_id, name): wanted.sign * numbers[wanted.name]
        for sample_id, numbers in values.items()
        for name, tags in tagged.items()
        for wanted in [found for found in (find_wanted(tag, numbers) for tag in tags) if found][:1]
    }


def _choices(labels: Sequence[HumanLabel]) -> dict[tuple[Pair, str], float]:
    """(pair in canonical order, principle) -> the mean choice of all who labelled it, 1 for the first."""
    given: dict[tuple[Pair, str], list[float]] = defaultdict(list)
    for label in labels:
        first, second = label.sample_ids
        sign = 1 if first <= second else -1
        given[canonical_pair(first, second), label.principle_id].append(sign * (2 * P_FIRST[label.choice] - 1))
    return {key: statistics.fmean(choices) for key, choices in given.items()}


def _weights(labels: Sequence[HumanLabel]) -> dict[tuple[Pair, str], float]:
    """(pair in canonical order, principle) -> one over its inclusion probability; empty where some label has none."""
    known = [(label, label.inclusion_probability) for label in labels if label.inclusion_probability is not None]
    if len(known) < len(labels):
        return {}
    return {(canonical_pair(*label.sample_ids), label.principle_id): 1 / probability for label, probability in known}
