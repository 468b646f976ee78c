"""A run's stored responses and an edited principle file -> which decisions the edit flips, before anyone trains.

The run's own judge and template are asked, and only about principles that the run does not know; answers go to the
run's ledger, so that a second look, and a run after the edit, find them there. Changes nothing of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rlaif.console import say
from rlaif.constitution.asked import draw_principle, prepare_constitution
from rlaif.constitution.diff import weighed
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import ModelError, StageError
from rlaif.judge_setup import check_judge
from rlaif.judging.judge import Judging, judge_pairs
from rlaif.judging.questions import GREEDY, make_questions
from rlaif.models.interface import Chat, ScoredReply, ScoreRequest, StreamingScorer, TokenScorer
from rlaif.preferences.diff import PreferenceDiff, diff_preferences
from rlaif.records import (
    Comparison,
    Constitution,
    HumanLabel,
    Model,
    Principle,
    Prompt,
    Question,
    Sample,
    Tally,
    Value,
)
from rlaif.stored_run import JudgedRound, is_recorded, limit_prompts, look_at_run, read_judged, stored_template
from rlaif.work import Work


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


class Shown(NamedTuple):
    """The texts behind a decision. All of it is untrusted."""

    prompt: Prompt
    first: Sample
    second: Sample


class Asking(NamedTuple):
    """Principles that the run's judge was not asked about, and the pairs to ask it about."""

    file: Constitution
    pairs: list[tuple[Sample, Sample]]


class ToAsk(NamedTuple):
    """What a diff would ask the judge."""

    askings: list[Asking]
    principles: list[str]
    """Ids of those that it would be asked about."""
    num_questions: int
    num_answered: int
    """Of these, answered in the ledger already."""


class Diff(NamedTuple):
    result: FileDiff | None
    """None: it was only counted what would be asked."""
    to_ask: ToAsk
    shown: dict[tuple[str, str], Shown]


def diff_constitutions(
    old: str | None,
    new: str | None,
    *,
    run: str | None = None,
    runs_dir: Path,
    num_prompts: int | None = None,
    count_only: bool = False,
) -> Diff:
    """old: None is what the run was judged by; new: None is the file that the run's configuration names, as it is now.

    num_prompts: at most the pairs of so many of its prompts, drawn by their ids.
    """
    given = [None if name is None else load_constitution(name) for name in (old, new)]  # refused before all else
    with look_at_run(runs_dir, run) as work:
        before = work.constitution if given[0] is None else _prepare(work, given[0])
        after = _prepare(work, given[1] or load_constitution(work.config.constitution))
        judged = read_judged(work)
        pairs = limit_prompts(judged.pairs, num_prompts=num_prompts)
        if not pairs:
            raise StageError("the run compared no responses", where=str(work.run.path), fix="name another by --run")
        judge = _find_judge(work, judged.comparisons)
        askings = _find_askings(work, judged.comparisons, judge=judge, files=(before, after), pairs=pairs)
        to_ask = _count(work, askings, judged, judge=judge)
        shown = {
            (min(a.id, b.id), max(a.id, b.id)): Shown(judged.prompts[a.prompt_id], *sorted((a, b), key=lambda s: s.id))
            for a, b in pairs
        }
        if count_only:
            return Diff(None, to_ask, shown)
        judging = _ask(work, judged, judge=judge, to_ask=to_ask)
        comparisons = [*(c for c in judged.comparisons if c.judge_id == judge.id), *judging.comparisons]
        result = FileDiff(
            run=work.run.name,
            round=work.round,
            judge=work.judge_name,
            old=before,
            new=after,
            num_prompts=len({first.prompt_id for first, _ in pairs}),
            num_prompts_of_run=len({first.prompt_id for first, _ in judged.pairs}),
            num_asked=to_ask.num_questions - to_ask.num_answered,
            asking=judging.tally,
            has_labels=bool(work.used("4_preferences", HumanLabel)),
            preferences=diff_preferences(
                comparisons,
                old=before,
                new=after,
                pairs=pairs,
                config=work.config.preferences,
                draw_seed=work.draw_seed,
                seed=work.seed,
            ),
        )
    return Diff(result, to_ask, shown)


def _find_judge(work: Work, comparisons: Sequence[Comparison]) -> Model:
    judge = work.ledger.get(Model, comparisons[0].judge_id) if comparisons else None
    if judge is None:
        raise StageError(
            "every question to this run's judge failed", where=str(work.run.path), fix="name another run by --run"
        )
    return judge


def _prepare(work: Work, file: Constitution) -> Constitution:
    return prepare_constitution(file, mode=work.config.judge.principles)


def _find_askings(
    work: Work,
    comparisons: Sequence[Comparison],
    *,
    judge: Model,
    files: Sequence[Constitution],
    pairs: Sequence[tuple[Sample, Sample]],
) -> list[Asking]:
    """Every pair under each unknown principle; where one is drawn for each pair, the pairs that draw another now."""
    mode = work.config.judge.principles
    if mode == "sampled":
        return _find_drawn(work, files=files, pairs=pairs)
    unknown = _find_unknown(comparisons, judge=judge, files=files)
    if mode == "together":  # whole files: their source holds the principles one by one
        askings = [Asking(file, [*pairs]) for file in files if any(principle in unknown for principle in weighed(file))]
        return askings[:1] if files[0].principles == files[1].principles else askings
    return [Asking(file, [*pairs]) for file in _files_to_ask(unknown)]


def _find_drawn(work: Work, *, files: Sequence[Constitution], pairs: Sequence[tuple[Sample, Sample]]) -> list[Asking]:
    """What was asked and failed counts as asked."""
    asked = {(frozenset(q.sample_ids), q.principles[0].text_digest) for q in work.used("3_judgements", Question)}
    askings = []
    for file in files:
        wanted = {(a, b): draw_principle(weighed(file), (a.id, b.id), seed=work.config.seed) for a, b in pairs}
        new = {pair: (frozenset(s.id for s in pair), principle.digest) for pair, principle in wanted.items()}
        askings.append(Asking(file, [pair for pair, key in new.items() if key not in asked]))
        asked |= set(new.values())
    return [asking for asking in askings if asking.pairs]


def _find_unknown(comparisons: Sequence[Comparison], *, judge: Model, files: Sequence[Constitution]) -> list[Principle]:
    """Principles, by id and text, under which the run's judge compared nothing. A weight is no question."""
    known = {(c.principle.id, c.principle.text_digest) for c in comparisons if c.judge_id == judge.id}
    wanted = {(p.id, p.digest): p for file in files for p in weighed(file)}
    return [principle for key, principle in wanted.items() if key not in known]


def _count(
    work: Work,
    askings: Sequence[Asking],
    judged: JudgedRound,
    *,
    judge: Model,
) -> ToAsk:
    """Refuses what cannot be asked, before anything is spent."""
    if not askings:
        return ToAsk([], [], 0, 0)
    if is_recorded(work):
        name = weighed(askings[0].file)[0].id
        raise StageError(
            f'nobody can be asked about principle "{name}": the verdicts of this run were recorded',
            where=str(work.run.path),
            fix="change weights alone, or judge the responses with `rlaif generate-prefs`",
        )
    template = _template(work)
    questions = [
        question
        for file, pairs in askings
        for question in make_questions(
            pairs, prompts=judged.prompts, constitution=file, template=template, judge_id=judge.id,
            both_orders=work.config.judge.both_orders, decoding=_decoding(work), draw_seed=work.draw_seed,
        )
    ]  # fmt: skip
    num_answered = len(work.ledger.judgements_for([question.id for question in questions]))
    names = list(dict.fromkeys(question.principles[0].id for question in questions))
    if num_answered < len(questions):
        for file, _ in askings:
            check_judge(work.config.judge, constitution=file, template=template)
    return ToAsk(list(askings), names, len(questions), num_answered)


def _template(work: Work) -> JudgeTemplate:
    """The one that the run was judged with."""
    return stored_template(work, work.run.config["inputs"].get("judge.template"))


def _files_to_ask(principles: Sequence[Principle]) -> list[Constitution]:
    """The principles as files that hold nothing else; one id with two texts stands in two files."""
    files: list[list[Principle]] = []
    for principle in principles:
        place = next((file for file in files if all(p.id != principle.id for p in file)), None)
        if place is None:
            files.append(place := [])
        place.append(principle.model_copy(update={"weight": 1.0}))
    return [Constitution(name="asked by a diff", principles=tuple(file), source="") for file in files]


def _ask(work: Work, judged: JudgedRound, *, judge: Model, to_ask: ToAsk) -> Judging:
    judging = Judging([], [], [], [], Tally(num_in=0))
    if not to_ask.askings:
        say("nothing to ask: the run's judge has answered all of it")
        return judging
    say(f"{to_ask.num_questions - to_ask.num_answered} questions to ask, {to_ask.num_answered} answered already")
    scorer = _find_scorer(work, judge)
    for file, pairs in to_ask.askings:
        # In a folder of its own: the run's plans stay as they are.
        with tempfile.TemporaryDirectory(prefix="rlaif-diff-") as folder:
            done = judge_pairs(
                pairs, prompts=judged.prompts, constitution=file, template=_template(work), scorer=scorer,
                config=work.config.judge, ledger=work.ledger, plan_path=Path(folder) / "questions_plan.json",
                budget=work.judge_budget, draw_seed=work.draw_seed,
            )  # fmt: skip
        judging = Judging(
            [*judging.questions, *done.questions], [*judging.judgements, *done.judgements],
            [*judging.failed, *done.failed], [*judging.comparisons, *done.comparisons], judging.tally + done.tally,
        )  # fmt: skip
    return judging


def _is_served(work: Work) -> bool:
    return work.config.judge.model.engine == "openai"


def _decoding(work: Work) -> str:
    """Part of a question: how the run's judge draws its replies."""
    judge = work.judge if _is_served(work) else None
    return judge.decoding if isinstance(judge, StreamingScorer) else GREEDY


def _find_scorer(work: Work, judge: Model) -> TokenScorer:
    """The judge that judged the run: one behind a server is asked in a stream, a local one loaded when it must be."""
    local = _RunsJudge(work, judge)
    return local.load() if _is_served(work) else local


class _RunsJudge:
    """The judge that judged the run, loaded when it is first asked; another one in its place is refused."""

    def __init__(self, work: Work, judge: Model) -> None:
        self._work, self._judge = work, judge

    @property
    def fingerprint(self) -> Model:
        return self._judge

    @cached_property
    def _scorer(self) -> TokenScorer:
        return self.load()

    def load(self) -> TokenScorer:
        scorer = self._work.judge
        if scorer.fingerprint.id != self._judge.id:
            raise ModelError(
                "the judge is no longer the model that judged this run",
                where=self._work.judge_name,
                fix="put it back, or start a new run with the judge that is there now",
            )
        return scorer

    def count_tokens(self, chat: Chat) -> int:
        return self._scorer.count_tokens(chat)

    @property
    def context_tokens(self) -> int:
        return self._scorer.context_tokens

    def score(self, chats: Sequence[Chat], *, request: ScoreRequest) -> list[ScoredReply]:
        return self._scorer.score(chats, request=request)
