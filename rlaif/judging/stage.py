"""The stage `judgements`: every judge's comparisons of the pairs that are drawn from a round's samples.

Takes values out of the run, asks the judges one after another, and closes the stage. Also what a judged round holds,
as a value for whoever looks at it later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlaif.calibration.artifact import read_calibration, refuse_other_judge
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.render import JudgeTemplate, template_from_source
from rlaif.errors import ModelError, RunFolderError, StageError
from rlaif.judging.asking import Asking
from rlaif.judging.bench import Bench
from rlaif.judging.judge import Judging, judge_pairs
from rlaif.judging.modes import MODES
from rlaif.judging.panel import RunJudge, merge_judgings
from rlaif.judging.setup import pairs_per_prompt
from rlaif.ledger.store import Ledger
from rlaif.records import (
    Comparison,
    Constitution,
    FailedJudgement,
    HumanLabel,
    Judgement,
    Model,
    Prompt,
    Question,
    Record,
    Sample,
)
from rlaif.run.book import Book
from rlaif.run.finished import read_stage
from rlaif.run.folder import newest_round, open_run
from rlaif.run.input_checks import expect_judge
from rlaif.run.round import Round
from rlaif.run.stages import JUDGEMENTS, PREFERENCES, PROMPTS, SAMPLES, Stage
from rlaif.run.stored import open_stored
from rlaif.sampling.sampler import Pairs, draw_pairs


def draw_round_pairs(round: Round, bench: Bench, samples: Sequence[Sample]) -> Pairs:
    """The pairs of a round's responses that are compared."""
    num_pairs = pairs_per_prompt(round.config.sampling, template=bench.template)
    return draw_pairs(samples, num_pairs=num_pairs, seed=round.seed)


def find_asked_pairs(
    round: Round, bench: Bench, questions: Sequence[Question], samples: Sequence[Sample]
) -> list[tuple[Sample, Sample]]:
    """The pairs that the judges were asked about, in the order in which they were."""
    if any(MODES[question.mode].shows != "two" for question in questions):
        return draw_round_pairs(round, bench, samples).pairs
    by_id = {sample.id: sample for sample in samples}
    asked = dict.fromkeys(tuple(sorted(question.sample_ids)) for question in questions)
    return [(by_id[a], by_id[b]) for a, b in asked]


def judge_samples(
    round: Round, book: Book, bench: Bench, *, prompts: Sequence[Prompt], samples: Sequence[Sample]
) -> list[Comparison]:
    """Every judge's comparisons of drawn pairs under each principle, both orders combined."""
    if book.is_done(JUDGEMENTS, round=round.number):
        return book.used(JUDGEMENTS, Comparison, round=round.number)
    drawn = draw_round_pairs(round, bench, samples)
    say(f"pairs: {drawn.tally}")
    judging = ask_all(round, bench, drawn.pairs, prompts={prompt.id: prompt for prompt in prompts})
    finish_judging(round, book, judging)
    return judging.comparisons


def finish_judging(
    round: Round, book: Book, judging: Judging, *, stage: Stage = JUDGEMENTS, records: Sequence[Record] = ()
) -> None:
    """Close a stage that asked a judge. records: further records that the stage made."""
    book.finish(
        stage,
        round=round.number,
        tally=judging.tally,
        records=[*judging.questions, *judging.judgements, *judging.failed, *judging.comparisons, *records],
        constitution_id=round.constitution.id,
    )


def ask_all(
    round: Round, bench: Bench, pairs: Sequence[tuple[Sample, Sample]], *, prompts: Mapping[str, Prompt]
) -> Judging:
    """The judgements of every judge. The weights of a local judge are gone before the next one is loaded."""
    before: set[str] = set()
    judgings = []
    for judge in bench.judges:
        judgings.append(_ask(round, bench, judge, pairs=pairs, prompts=prompts, before=before))
    return merge_judgings(judgings)


def _ask(
    round: Round,
    bench: Bench,
    judge: RunJudge,
    *,
    pairs: Sequence[tuple[Sample, Sample]],
    prompts: Mapping[str, Prompt],
    before: set[str],
) -> Judging:
    """One judge's judgements. before: the fingerprints of the judges before this one, which it joins."""
    is_alone = len(bench.judges) == 1
    if not is_alone:
        say(f"judge {judge.number} of {len(bench.judges)}: {judge.name}")
    with bench.lend(judge) as scorer:
        if scorer.fingerprint.id in before:
            raise ModelError(
                f"judge {judge.number} of the panel is the same model as an earlier one: its answers would count twice",
                where=judge.name,
                fix="take it out of judge.panel, or name another model",
            )
        before.add(scorer.fingerprint.id)
        if (path := round.config.human.calibration) is not None:
            found, judge_id = read_calibration(Path(path)), scorer.fingerprint.id
            refuse_other_judge(found, number=judge.number, name=judge.name, judge_id=judge_id, where=path)
        expect_judge(round, JUDGEMENTS, model=scorer.fingerprint, config=judge.config, template=judge.template)
        folder = judge.folder(round.folder(JUDGEMENTS))
        folder.mkdir(exist_ok=True)
        return judge_pairs(
            pairs,
            prompts=prompts,
            asking=ask_as(round, bench, judge),
            scorer=scorer,
            plan_path=folder / "questions_plan.json",
            label="judgements" if is_alone else f"judgements {judge.number}/{len(bench.judges)}",
        )


def ask_as(round: Round, bench: Bench, judge: RunJudge) -> Asking:
    """How a judge of the run is asked in this round."""
    return Asking(
        constitution=round.constitution,
        template=judge.template,
        config=judge.config,
        ledger=round.ledger,
        budget=bench.budget,
        draw_seed=round.draw_seed,
    )


def find_judge_name(round: Round, bench: Bench, comparisons: Sequence[Comparison]) -> str:
    """Who judged the round, for a data set's card: of recorded verdicts the judge that came with them."""
    if round.is_recorded and comparisons:
        judge = round.ledger.get(Model, comparisons[0].judge_id)
        return judge.observed.name if judge is not None else ""
    return bench.name


@dataclass(frozen=True)
class JudgedRound:
    """What the judges of a round were asked and answered, and about what."""

    run: str
    """The run's name."""
    path: Path
    """The run's folder."""
    number: int
    """The round's number."""
    config: RunConfig
    ledger: Ledger
    constitution: Constitution
    seed: int
    draw_seed: int | None
    is_recorded: bool
    template_digests: Mapping[str, str]
    """Digests of the run's inputs: among them those of the judges' templates, by `RunJudge.template_key`."""
    prompts: Mapping[str, Prompt]
    samples: Sequence[Sample]
    pairs: Sequence[tuple[Sample, Sample]]
    """The pairs that were compared."""
    questions: Sequence[Question]
    judgements: Sequence[Judgement]
    failed: Sequence[FailedJudgement]
    comparisons: Sequence[Comparison]
    labels: Sequence[HumanLabel]
    """People's labels that were mixed into the preferences."""


def read_judged(round: Round, book: Book, bench: Bench) -> JudgedRound:
    """The judged round as the ledger has it."""
    samples = book.used(SAMPLES, Sample, round=round.number)
    questions = book.used(JUDGEMENTS, Question, round=round.number)
    return JudgedRound(
        run=round.run.name,
        path=round.run.path,
        number=round.number,
        config=round.config,
        ledger=round.ledger,
        constitution=round.constitution,
        seed=round.seed,
        draw_seed=round.draw_seed,
        is_recorded=round.is_recorded,
        template_digests=round.run.config["inputs"],
        prompts={prompt.id: prompt for prompt in book.used(PROMPTS, Prompt, round=round.number)},
        samples=samples,
        pairs=find_asked_pairs(round, bench, questions, samples),
        questions=questions,
        judgements=book.used(JUDGEMENTS, Judgement, round=round.number),
        failed=book.used(JUDGEMENTS, FailedJudgement, round=round.number),
        comparisons=book.used(JUDGEMENTS, Comparison, round=round.number),
        labels=book.used(PREFERENCES, HumanLabel, round=round.number),
    )


@contextmanager
def open_judged(runs_dir: Path, name: str | None, *, read_only: bool = False) -> Iterator[tuple[JudgedRound, Bench]]:
    """The named run or the newest one, at its newest round whose judgements are there. No stage of it is touched."""
    run = open_run(runs_dir, name)
    number = newest_round(run, stage=PREFERENCES)
    if read_stage(run.stage_dir(number, JUDGEMENTS)) is None:
        raise RunFolderError(
            "nothing is judged in this run yet", where=str(run.path), fix="run `rlaif generate-prefs` first"
        )
    with open_stored(run, runs_dir=runs_dir, number=number, read_only=read_only) as (round, book):
        bench = Bench(round.config, ledger=round.ledger, find_stage_dirs=lambda: run.stage_dirs)
        yield read_judged(round, book, bench), bench


def stored_template(judged: JudgedRound, digest: str | None) -> JudgeTemplate:
    """The judge template of a question as the ledger keeps it, whatever its file says by now."""
    source = None if digest is None else judged.ledger.text(digest)
    if source is None:
        raise StageError(
            "the judge template of this run is not in its ledger",
            where=str(judged.path),
            fix="name a run that asked a judge by --run",
        )
    return template_from_source(source, name=judged.config.judge.template)
