"""The stage `evaluation`: both policies' responses to held-out prompts, judged, and the report of the whole round.

Takes values out of the run, hands them to collect.py and page.py, and closes the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from rlaif.cleaning.report import read_cleaning
from rlaif.config.base import RESOLVED
from rlaif.console import say
from rlaif.evaluation.best_of_n import NO_PICKS, Picks, pick_samples
from rlaif.evaluation.policy import PolicyPair, find_different, pair_samples
from rlaif.judging.bench import Bench
from rlaif.judging.failures import describe_failures
from rlaif.judging.judge import judge_pairs
from rlaif.judging.panel import find_panel
from rlaif.judging.stage import JudgedRound, ask_as, finish_judging, read_judged
from rlaif.ledger.queries import find_drawn_labels
from rlaif.ledger.sign_offs import state_head
from rlaif.preferences.export import digest_preferences
from rlaif.preferences.label import LabelRule
from rlaif.preferences.people import find_judged
from rlaif.preferences.stage import DATASET, claims_probability
from rlaif.records import (
    CalibrationCard,
    Comparison,
    EvaluationReport,
    HumanLabel,
    Judgement,
    PolicyCard,
    Preference,
    PreferenceRow,
    Prompt,
    Question,
    RewardModelCard,
    Sample,
)
from rlaif.report.collect import Evaluated, RoundFacts, collect_report
from rlaif.report.costs import Spending, find_costs
from rlaif.report.input import FunnelStage, ReportInput
from rlaif.report.labelled import LabelledRound
from rlaif.report.page import write_report
from rlaif.reward_model.ensemble import open_scorer
from rlaif.reward_model.stage import digest_rows_so_far, read_rows_so_far
from rlaif.run.book import Book
from rlaif.run.chain import find_by_rewards
from rlaif.run.finished import read_stage
from rlaif.run.input_checks import expect_judge, expect_measures, expect_policy, expect_preferences
from rlaif.run.round import Round
from rlaif.run.shelf import Shelf, make_room
from rlaif.run.stage_gates import read_gates
from rlaif.run.stages import (
    EVALUATION,
    JUDGEMENTS,
    POLICY,
    PREFERENCES,
    PROMPTS,
    REWARD_MODEL,
    SAMPLES,
    SFT,
    STAGES,
)
from rlaif.run.world import FRONTDESK_MEASURE, find_measures
from rlaif.sampling.sampler import sorted_pair
from rlaif.sampling.stage import draw_samples, find_evaluation_prompts


def evaluate(round: Round, book: Book, shelf: Shelf, bench: Bench) -> None:
    """The trained policy against the starting one on held-out prompts, and the report of the whole round."""
    labels = _find_new_labels(round, book)
    if not book.is_done(EVALUATION, round=round.number):
        book.require(POLICY, round=round.number)
        bench.check(round.constitution)
        make_room(round.config, shelf.clear, bench.clear)
        drawn = _draw(round, book, shelf)
        make_room(round.config, shelf.clear, bench.clear)
        labels = [label for label in labels if drawn.ids.issuperset(label.sample_ids)]
        evaluated = _judge(round, book, shelf, bench, drawn=drawn, labels=labels)
        report = _collect(round, book, bench, evaluated)
        expect_measures(round, EVALUATION)
        write_report(report, round.folder(EVALUATION))
        book.use(
            EVALUATION,
            [*drawn.prompts, *drawn.start, *drawn.trained, *drawn.picks.candidates, *labels],
            round=round.number,
            constitution_id=round.constitution.id,
        )
        finish_judging(round, book, evaluated.judging, stage=EVALUATION, records=[report.evaluation])
    say(f"report: {round.folder(EVALUATION) / 'report.html'}")


class _Drawn(NamedTuple):
    """Responses to the held-out prompts."""

    prompts: list[Prompt]
    start: list[Sample]
    trained: list[Sample]
    picks: Picks

    @property
    def pairs(self) -> list[PolicyPair]:
        return pair_samples(self.start, self.trained)

    @property
    def ids(self) -> set[str]:
        return {sample.id for sample in (*self.start, *self.trained)}


def _draw(round: Round, book: Book, shelf: Shelf) -> _Drawn:
    prompts = find_evaluation_prompts(round, book)
    draw = partial(
        draw_samples,
        round,
        EVALUATION,
        prompts,
        num_samples=round.config.evaluation.num_samples,
        seed=round.config.seed,  # the same in every round: the starting policy's responses are drawn once
    )
    generator = shelf.generator("start")
    expect_policy(round, EVALUATION, generator.fingerprint)
    expect_preferences(round, EVALUATION, digest=partial(digest_rows_so_far, round))
    start = draw(generator=generator, name="start_")
    trained = draw(generator=shelf.generator("trained"), name="trained_")
    return _Drawn(prompts, start, trained, _pick_best(round, book, shelf, prompts=prompts, start=start))


def _pick_best(round: Round, book: Book, shelf: Shelf, *, prompts: Sequence[Prompt], start: Sequence[Sample]) -> Picks:
    """The responses that the reward model chooses among further ones of the starting policy; none where that is off."""
    config = round.config.evaluation
    if config.best_of < 2 or not book.is_done(REWARD_MODEL, round=round.number):
        return NO_PICKS
    drawn = draw_samples(
        round,
        EVALUATION,
        prompts,
        generator=shelf.generator("start"),
        num_samples=config.num_samples + config.best_of,
        seed=round.config.seed,
        name="best_of_",
    )
    candidates = [sample for sample in drawn if sample.index >= config.num_samples]
    by_id = {prompt.id: prompt for prompt in prompts}
    scorer = open_scorer(shelf.reward_model())
    outcomes = scorer.score_each([(by_id[sample.prompt_id], sample.text) for sample in candidates])
    rewards = {sample.id: o for sample, o in zip(candidates, outcomes, strict=True) if isinstance(o, float)}
    return pick_samples(start, candidates=candidates, rewards=rewards, n=config.best_of)


def _find_new_labels(round: Round, book: Book) -> list[HumanLabel]:
    """People's labels of evaluated pairs of this run. Where a finished evaluation lacks some, it is opened again."""
    labels = find_drawn_labels(round.ledger, run=round.run.name, is_evaluation=True)
    if labels and book.is_done(EVALUATION, round=round.number):
        samples = {sample.id for sample in book.used(EVALUATION, Sample, round=round.number)}
        own = {label.id for label in labels if samples.issuperset(label.sample_ids)}
        known = {label.id for label in book.used(EVALUATION, HumanLabel, round=round.number)}
        if own != known:
            say(f"evaluation: made again with {len(own)} labels of people; what was asked before is not asked again")
            book.make_again(EVALUATION, round=round.number)
    return labels


def _judge(
    round: Round, book: Book, shelf: Shelf, bench: Bench, *, drawn: _Drawn, labels: Sequence[HumanLabel]
) -> Evaluated:
    """What the judge says of both policies' responses, and of the picks."""
    judge = bench.evaluator
    different = find_different([*drawn.pairs, *drawn.picks.pairs])
    with bench.lend(judge) as scorer:
        expect_judge(round, EVALUATION, model=scorer.fingerprint, config=judge.config, template=judge.template)
        judging = judge_pairs(
            [sorted_pair(*pair) for pair in different],
            prompts={prompt.id: prompt for prompt in drawn.prompts},
            asking=ask_as(round, bench, judge),
            scorer=scorer,
            plan_path=round.folder(EVALUATION) / "questions_plan.json",
        )
        judged_by = scorer.fingerprint
    if judging.failed and not judging.judgements:
        say(f"evaluation: {describe_failures(judging.failed, num_questions=len(judging.questions))}")
    has_reward_model = book.is_done(REWARD_MODEL, round=round.number)
    return Evaluated(
        prompts=drawn.prompts,
        pairs=drawn.pairs,
        picks=drawn.picks,
        judging=judging,
        judge=judged_by,
        judge_config=judge,
        start=shelf.policy("start").fingerprint,
        trained=shelf.policy("trained").fingerprint,
        reward_model=shelf.reward_model() if has_reward_model else None,
        held_out=_find_held_out(round, book) if has_reward_model else [],
        labels=labels,
    )


def _find_held_out(round: Round, book: Book) -> list[PreferenceRow]:
    return [pair for row in read_rows_so_far(round, book).test for pair in row.as_pairs()]


def _collect(round: Round, book: Book, bench: Bench, evaluated: Evaluated) -> ReportInput:
    judged = read_judged(round, book, bench)
    dataset = round.find_folder(PREFERENCES) / DATASET
    calibrations = book.used(PREFERENCES, CalibrationCard, round=round.number)
    measures = find_measures(round.config)
    facts = RoundFacts(
        judged=judged,
        judges=bench.judges,
        resolved=round.run.config.get(RESOLVED, {}),
        measures=measures,
        has_simulated_measure=FRONTDESK_MEASURE in measures,
        funnel=_find_funnel(round),
        metrics=round.metrics,
        policy_dir=find_by_rewards(round.config).find_dir(round.run, round=round.number),
        policy_card=next(iter(book.used(POLICY, PolicyCard, round=round.number)), None),
        calibration=calibrations[-1] if calibrations else None,
        labelled=_find_labelled(round, book, bench, judged, card=calibrations[-1]) if calibrations else None,
        dataset_digest=digest_preferences(dataset) if dataset.is_dir() else None,
        ledger_head=state_head(round.ledger),
        earlier=[
            (number, found[-1])
            for number in range(round.number)
            if (found := book.used(EVALUATION, EvaluationReport, round=number))
        ],
        cleaning=[
            report
            for stage in (SFT, PROMPTS, REWARD_MODEL)
            if (report := read_cleaning(round.find_folder(stage))) is not None
        ],
        gates=read_gates(round),
    )
    spending = Spending(
        judged=judged,
        judges=bench.judges,
        metrics=round.metrics,
        samples_dir=round.find_folder(SAMPLES),
        judgements_dir=round.find_folder(JUDGEMENTS),
        policy_dir=round.folder(POLICY),
        evaluation_dir=round.folder(EVALUATION),
        policy_samples=book.used(POLICY, Sample, round=round.number),
        policy_questions=book.used(POLICY, Question, round=round.number),
        policy_judgements=book.used(POLICY, Judgement, round=round.number),
    )
    num_responses = 2 * len(evaluated.pairs) + len(evaluated.picks.candidates)
    num_judgements = len(evaluated.judging.judgements)
    costs = find_costs(spending, num_responses=num_responses, num_judgements=num_judgements)
    return collect_report(facts, evaluated, costs=costs)


def _find_labelled(
    round: Round, book: Book, bench: Bench, judged: JudgedRound, *, card: CalibrationCard
) -> LabelledRound:
    """The labels that had a part in this round's preferences, beside what its judges said in all rounds so far."""
    panel = find_panel(
        bench.judges, questions=judged.questions, comparisons=judged.comparisons, is_recorded=judged.is_recorded
    )
    earlier = book.used_before(JUDGEMENTS, Comparison, round=round.number)
    samples = [*book.used_before(SAMPLES, Sample, round=round.number), *judged.samples]
    prompts = book.used_before(PROMPTS, Prompt, round=round.number)
    return LabelledRound(
        number=round.number,
        card=card,
        labels=judged.labels,
        judged=find_judged(
            [*earlier, *judged.comparisons],
            constitution=judged.constitution,
            panel=panel,
            rule=LabelRule(judged.config.preferences, seed=judged.seed, fitted_on=judged.comparisons),
            draw_seed=judged.draw_seed,
        ),
        samples={sample.id: sample for sample in samples},
        prompts={**{prompt.id: prompt for prompt in prompts}, **judged.prompts},
        preferences=book.used(PREFERENCES, Preference, round=round.number),
        reward_model=next(iter(book.used(REWARD_MODEL, RewardModelCard, round=round.number)), None),
        constitution=judged.constitution,
        is_scaled=claims_probability((judge.template for judge in bench.judges), is_recorded=judged.is_recorded),
    )


def _find_funnel(round: Round) -> list[FunnelStage]:
    """The finished stages before the evaluation, which is under way."""
    found = [(stage, read_stage(round.find_folder(stage))) for stage in STAGES if stage != EVALUATION]
    return [
        FunnelStage(name=stage.name, unit=finished.unit, tally=finished.tally)
        for stage, finished in found
        if finished is not None
    ]
