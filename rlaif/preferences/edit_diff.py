"""A run's stored responses and an edited principle file -> which decisions the edit flips, before anyone trains.

The run's own judges and templates are used, and only for principles that the run does not know. Answers go to the
run's ledger, where a second diff, and a run after the edit, find them. Changes nothing of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.edit_outcomes import describe_tested, find_tested
from rlaif.console import say
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.constitution.selection import draw_principle, prepare_constitution, weighted_principles
from rlaif.errors import StageError
from rlaif.judging.asking import Asking
from rlaif.judging.bench import Bench
from rlaif.judging.judge import Judging, judge_pairs
from rlaif.judging.panel import find_judge_ids, find_panel, merge_judgings
from rlaif.judging.questions import key_of, plan_questions, render_questions
from rlaif.judging.setup import check_judge
from rlaif.judging.stage import JudgedRound, stored_template
from rlaif.judging.unanswered import AGAIN, naming_next_step
from rlaif.preferences.diff import PairLabels, PreferenceDiff, diff_preferences, label_pairs
from rlaif.preferences.diff_judge import DiffJudge, draws_answers, find_decoding, find_scorer
from rlaif.records import (
    Constitution,
    Model,
    Panel,
    Principle,
    Prompt,
    Sample,
    Tally,
    Value,
)

KEPT = f"every answer is kept; once the server answers, {AGAIN}"


class FileDiff(Value):
    """What an edited principle file does to a run's decisions."""

    run: str
    round: int
    judge: str
    old: Constitution
    new: Constitution
    num_prompts: int
    num_prompts_of_run: int
    num_asked: int
    """Questions that the judge was asked now; all others were answered in the ledger."""
    asking: Tally
    """All questions about principles that the run did not know, and those that failed by cause."""
    has_labels: bool
    """People labelled some of the run's pairs: their labels and their calibration are left out on both sides."""
    preferences: PreferenceDiff
    tested: str
    """What people's labels say of the edit: the outcome of its test, or that there is none."""
    is_drawn: bool = False
    """A judge draws its answers, so that some decisions flip by chance and not by the edit."""


class Shown(NamedTuple):
    """The texts behind a decision. All of it is untrusted."""

    prompt: Prompt
    first: Sample
    second: Sample


class Gap(NamedTuple):
    """Principles that a judge of the run was not asked about, and the pairs to ask it about."""

    judge: DiffJudge
    file: Constitution
    pairs: list[tuple[Sample, Sample]]


class Plan(NamedTuple):
    """What a diff would ask the judges."""

    gaps: list[Gap]
    principles: list[str]
    """Ids of the principles that the judges would be asked about."""
    num_questions: int
    num_answered: int
    """How many of these questions are answered in the ledger already."""


class Diff(NamedTuple):
    """An edit's effect on a run, and what it took to find it."""

    result: FileDiff | None
    """None where it was only counted what would be asked."""
    plan: Plan
    shown: dict[tuple[str, str], Shown]
    """The texts behind each pair of sample ids."""
    labels: PairLabels | None = None
    """The label of every pair under both files; None where it was only counted what would be asked."""


def diff_judged(
    judged: JudgedRound,
    bench: Bench,
    *,
    old: Constitution | None,
    new: Constitution | None,
    num_prompts: int | None = None,
    count_only: bool = False,
) -> Diff:
    """Compare the decisions of a judged round under two principle files.

    old: None is what the run was judged by. new: None is the file that the run's configuration names, as it is now.
    num_prompts: compare at most the pairs of so many prompts, drawn by their ids. count_only: ask nothing.
    """
    before = judged.constitution if old is None else _prepare(judged, old)
    after = _prepare(judged, new or load_constitution(judged.config.constitution))
    pairs = limit_prompts(judged.pairs, num_prompts=num_prompts)
    if not pairs:
        raise StageError("the run compared no responses", where=str(judged.path), fix="name another by --run")
    judges = _find_judges(judged, bench)
    gaps = [gap for judge in judges for gap in _find_gaps(judged, judge=judge, files=(before, after), pairs=pairs)]
    plan = _count(judged, bench, gaps)
    shown = {
        (min(a.id, b.id), max(a.id, b.id)): Shown(judged.prompts[a.prompt_id], *sorted((a, b), key=lambda s: s.id))
        for a, b in pairs
    }
    if count_only:
        return Diff(None, plan, shown)
    judging = _ask(judged, bench, judges=judges, plan=plan)
    preferences, labels = _compare(judged, bench, judging=judging, files=(before, after), pairs=pairs)
    tested = find_tested(judged.ledger, old=before.file_digest, new=after.file_digest)
    result = FileDiff(
        run=judged.run,
        is_drawn=any(draws_answers(judge.run_judge) for judge in judges),
        round=judged.number,
        judge=bench.name,
        old=before,
        new=after,
        num_prompts=len({first.prompt_id for first, _ in pairs}),
        num_prompts_of_run=len({first.prompt_id for first, _ in judged.pairs}),
        num_asked=plan.num_questions - plan.num_answered,
        asking=judging.tally,
        has_labels=bool(judged.labels),
        preferences=preferences,
        tested="not tested by people" if tested is None else describe_tested(tested),
    )
    return Diff(result, plan, shown, labels)


def _compare(
    judged: JudgedRound,
    bench: Bench,
    *,
    judging: Judging,
    files: tuple[Constitution, Constitution],
    pairs: Sequence[tuple[Sample, Sample]],
) -> tuple[PreferenceDiff, PairLabels]:
    before, after = files
    comparisons, panel = [*judged.comparisons, *judging.comparisons], _find_panel(judged, bench)
    preferences = diff_preferences(
        comparisons, old=before, new=after, pairs=pairs, config=judged.config.preferences, draw_seed=judged.draw_seed,
        seed=judged.seed, panel=panel,
    )  # fmt: skip
    labels = label_pairs(
        comparisons, old=before, new=after, pairs=pairs, config=judged.config.preferences, draw_seed=judged.draw_seed,
        seed=judged.seed, panel=panel,
    )  # fmt: skip
    return preferences, labels


def _find_panel(judged: JudgedRound, bench: Bench) -> Panel:
    return find_panel(
        bench.judges, questions=judged.questions, comparisons=judged.comparisons, is_recorded=judged.is_recorded
    )


def limit_prompts(pairs: Sequence[tuple[Sample, Sample]], *, num_prompts: int | None) -> list[tuple[Sample, Sample]]:
    """The pairs of so many prompts, drawn by their ids: which ones does not depend on anything else."""
    ids = sorted({first.prompt_id for first, _ in pairs})[:num_prompts]
    kept = set(ids)
    return [pair for pair in pairs if pair[0].prompt_id in kept]


def _find_judges(judged: JudgedRound, bench: Bench) -> list[DiffJudge]:
    """The judges that judged the run. For recorded verdicts the configured judge is named, and never asked."""
    ids = find_judge_ids(judged.questions) if judged.comparisons else []
    models = judged.ledger.find(Model, ids)
    if not ids or len(models) < len(ids):
        raise StageError(
            "every question to this run's judge failed", where=str(judged.path), fix="name another run by --run"
        )
    configured = bench.judges if len(bench.judges) == len(ids) else bench.judges[:1] * len(ids)
    return [DiffJudge(models[judge_id], judge) for judge_id, judge in zip(ids, configured, strict=True)]


def _prepare(judged: JudgedRound, file: Constitution) -> Constitution:
    return prepare_constitution(file, mode=judged.config.judge.principles)


def _find_gaps(
    judged: JudgedRound,
    *,
    judge: DiffJudge,
    files: Sequence[Constitution],
    pairs: Sequence[tuple[Sample, Sample]],
) -> list[Gap]:
    """Every pair under each unknown principle; where one is drawn for each pair, the pairs that draw another now."""
    mode = judged.config.judge.principles
    if mode == "sampled":
        return _find_drawn(judged, judge=judge, files=files, pairs=pairs)
    unknown = _find_unknown(judged, judge=judge, files=files)
    if mode == "together":  # whole files: their source holds the principles one by one
        gaps = [
            Gap(judge, file, [*pairs]) for file in files if any(one in unknown for one in weighted_principles(file))
        ]
        return gaps[:1] if files[0].principles == files[1].principles else gaps
    return [Gap(judge, file, [*pairs]) for file in _files_to_ask(unknown)]


def _find_drawn(
    judged: JudgedRound, *, judge: DiffJudge, files: Sequence[Constitution], pairs: Sequence[tuple[Sample, Sample]]
) -> list[Gap]:
    """The pairs for which another principle is drawn now. A question that was sent and failed counts as sent."""
    sent = {
        (frozenset(question.sample_ids), question.principles[0].wording)
        for question in judged.questions
        if question.judge_id == judge.model.id
    }
    gaps = []
    for file in files:
        wanted = {
            (a, b): draw_principle(weighted_principles(file), (a.id, b.id), seed=judged.config.seed) for a, b in pairs
        }
        new = {
            pair: (frozenset(s.id for s in pair), key_of(principle, template=_template(judged, judge)).wording)
            for pair, principle in wanted.items()
        }
        gaps.append(Gap(judge, file, [pair for pair, key in new.items() if key not in sent]))
        sent |= set(new.values())
    return [gap for gap in gaps if gap.pairs]


def _find_unknown(judged: JudgedRound, *, judge: DiffJudge, files: Sequence[Constitution]) -> list[Principle]:
    """Principles, by what the judge would read, under which it compared nothing. A weight is no question."""
    template = _template(judged, judge)
    known = {c.principle.wording for c in judged.comparisons if c.judge_id == judge.model.id}
    wanted = {key_of(p, template=template).wording: p for file in files for p in weighted_principles(file)}
    return [principle for key, principle in wanted.items() if key not in known]


def _count(judged: JudgedRound, bench: Bench, gaps: Sequence[Gap]) -> Plan:
    """Count the questions. What cannot be asked is refused here, before anything is spent."""
    if not gaps:
        return Plan([], [], 0, 0)
    if judged.is_recorded:
        name = weighted_principles(gaps[0].file)[0].id
        raise StageError(
            f'nobody can be asked about principle "{name}": the verdicts of this run were recorded',
            where=str(judged.path),
            fix="change weights alone, or judge the responses with `rlaif generate-prefs`",
        )
    judges = {gap.judge.model.id: gap.judge for gap in gaps}
    decoding = {judge_id: find_decoding(bench, judge) for judge_id, judge in judges.items()}
    questions = [
        (judge, question)
        for judge, file, pairs in gaps
        for question, _ in render_questions(
            plan_questions(
                pairs, constitution=file, template=_template(judged, judge), config=judge.run_judge.config,
                draw_seed=judged.draw_seed,
            ),
            prompts=judged.prompts, template=_template(judged, judge), judge_id=judge.model.id,
            decoding=decoding[judge.model.id],
        )
    ]  # fmt: skip
    answered = judged.ledger.judgements_for([question.id for _, question in questions])
    owing = {judge.model.id for judge, question in questions if question.id not in answered}
    names = list(dict.fromkeys(question.principles[0].id for _, question in questions))
    for judge, file, _ in gaps:
        if judge.model.id in owing:
            check_judge(judge.run_judge.config, constitution=file, template=_template(judged, judge))
    return Plan(list(gaps), names, len(questions), len(answered))


def _template(judged: JudgedRound, judge: DiffJudge) -> JudgeTemplate:
    """The template that the judge judged the run with."""
    return stored_template(judged, judged.template_digests.get(judge.run_judge.template_key))


def _files_to_ask(principles: Sequence[Principle]) -> list[Constitution]:
    """The principles as files that hold nothing else; one id with two texts stands in two files."""
    files: list[list[Principle]] = []
    for principle in principles:
        place = next((file for file in files if all(p.id != principle.id for p in file)), None)
        if place is None:
            files.append(place := [])
        place.append(principle.model_copy(update={"weight": 1.0}))
    return [Constitution(name="asked by a diff", principles=tuple(file), source="") for file in files]


def _ask(judged: JudgedRound, bench: Bench, *, judges: Sequence[DiffJudge], plan: Plan) -> Judging:
    if not plan.gaps:
        say("nothing to ask: the run's judge has answered all of it")
        return merge_judgings([])
    judged.ledger.require_writable()
    say(f"{plan.num_questions - plan.num_answered} questions to ask, {plan.num_answered} answered already")
    return merge_judgings([one for judge in judges for one in _ask_judge(judged, bench, judge=judge, plan=plan)])


def _ask_judge(judged: JudgedRound, bench: Bench, *, judge: DiffJudge, plan: Plan) -> Iterator[Judging]:
    own = [gap for gap in plan.gaps if gap.judge.model.id == judge.model.id]
    if not own:
        return
    scorer = find_scorer(bench, judge)
    for _, file, pairs in own:
        asking = Asking(
            constitution=file, template=_template(judged, judge), config=judge.run_judge.config,
            ledger=judged.ledger, budget=bench.budget, draw_seed=judged.draw_seed, again=AGAIN,
        )  # fmt: skip
        # In a folder of its own: the run's plans stay as they are.
        with tempfile.TemporaryDirectory(prefix="rlaif-diff-") as folder, naming_next_step(KEPT):
            judging = judge_pairs(
                pairs, prompts=judged.prompts, asking=asking, scorer=scorer,
                plan_path=Path(folder) / "questions_plan.json",
            )  # fmt: skip
        yield judging
