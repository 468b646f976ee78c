"""A run's stored responses and an edited principle file -> which decisions the edit flips, before anyone trains.

The run's own judge and template are asked, and only about principles that the run does not know; answers go to the
run's ledger, so that a second look, and a run after the edit, find them there. Changes nothing of the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rlaif.console import say
from rlaif.constitution.asked import draw_principle, prepare_constitution
from rlaif.constitution.diff import weighed
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import ModelError, StageError
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.panel import RunJudge, find_judge_ids, find_panel, merge_judgings
from rlaif.judging.questions import GREEDY, plan_questions, render_questions
from rlaif.judging.setup import check_judge
from rlaif.judging.unanswered import AGAIN, naming_next_step
from rlaif.models.interface import BatchingScorer, Chat, ScoredReply, ScoreRequest, StreamingScorer, TokenScorer
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
from rlaif.run.stored import JudgedRound, is_recorded, limit_prompts, look_at_run, read_judged, stored_template
from rlaif.run.work import Work

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
    is_drawn: bool = False
    """A judge draws its answers, so that some decisions flip by chance and not by the edit."""


class Shown(NamedTuple):
    """The texts behind a decision. All of it is untrusted."""

    prompt: Prompt
    first: Sample
    second: Sample


class AskedJudge(NamedTuple):
    """One of the judges that judged the run."""

    model: Model
    run_judge: RunJudge


class Unjudged(NamedTuple):
    """Principles that a judge of the run was not asked about, and the pairs to ask it about."""

    judge: AskedJudge
    file: Constitution
    pairs: list[tuple[Sample, Sample]]


class DiffQuestions(NamedTuple):
    """What a diff would ask the judges."""

    unjudged: list[Unjudged]
    principles: list[str]
    """Ids of those that it would be asked about."""
    num_questions: int
    num_answered: int
    """Of these, answered in the ledger already."""


class Diff(NamedTuple):
    result: FileDiff | None
    """None: it was only counted what would be asked."""
    to_ask: DiffQuestions
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
        judges = _find_judges(work, judged.comparisons)
        unjudged = [
            one
            for judge in judges
            for one in _find_unjudged(work, judged.comparisons, judge=judge, files=(before, after), pairs=pairs)
        ]
        to_ask = _count(work, unjudged, judged)
        shown = {
            (min(a.id, b.id), max(a.id, b.id)): Shown(judged.prompts[a.prompt_id], *sorted((a, b), key=lambda s: s.id))
            for a, b in pairs
        }
        if count_only:
            return Diff(None, to_ask, shown)
        judging = _ask(work, judged, judges=judges, to_ask=to_ask)
        result = FileDiff(
            run=work.run.name,
            is_drawn=any(draws_answers(judge.run_judge) for judge in judges),
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
                [*judged.comparisons, *judging.comparisons],
                old=before,
                new=after,
                pairs=pairs,
                config=work.config.preferences,
                draw_seed=work.draw_seed,
                seed=work.seed,
                panel=find_panel(work, judged.comparisons),
            ),
        )
    return Diff(result, to_ask, shown)


def _find_judges(work: Work, comparisons: Sequence[Comparison]) -> list[AskedJudge]:
    """Those that judged the run. Recorded verdicts have no judge that could be asked: the run's stands there unused."""
    ids = find_judge_ids(work) if comparisons else []
    models = work.ledger.find(Model, ids)
    if not ids or len(models) < len(ids):
        raise StageError(
            "every question to this run's judge failed", where=str(work.run.path), fix="name another run by --run"
        )
    configured = work.judges if len(work.judges) == len(ids) else work.judges[:1] * len(ids)
    return [AskedJudge(models[judge_id], judge) for judge_id, judge in zip(ids, configured, strict=True)]


def _prepare(work: Work, file: Constitution) -> Constitution:
    return prepare_constitution(file, mode=work.config.judge.principles)


def _find_unjudged(
    work: Work,
    comparisons: Sequence[Comparison],
    *,
    judge: AskedJudge,
    files: Sequence[Constitution],
    pairs: Sequence[tuple[Sample, Sample]],
) -> list[Unjudged]:
    """Every pair under each unknown principle; where one is drawn for each pair, the pairs that draw another now."""
    mode = work.config.judge.principles
    if mode == "sampled":
        return _find_drawn(work, judge=judge, files=files, pairs=pairs)
    unknown = _find_unknown(comparisons, judge=judge.model, files=files)
    if mode == "together":  # whole files: their source holds the principles one by one
        unjudged = [
            Unjudged(judge, file, [*pairs])
            for file in files
            if any(principle in unknown for principle in weighed(file))
        ]
        return unjudged[:1] if files[0].principles == files[1].principles else unjudged
    return [Unjudged(judge, file, [*pairs]) for file in _files_to_ask(unknown)]


def _find_drawn(
    work: Work, *, judge: AskedJudge, files: Sequence[Constitution], pairs: Sequence[tuple[Sample, Sample]]
) -> list[Unjudged]:
    """What was asked and failed counts as asked."""
    asked = {
        (frozenset(question.sample_ids), question.principles[0].text_digest)
        for question in work.used("3_judgements", Question)
        if question.judge_id == judge.model.id
    }
    unjudged = []
    for file in files:
        wanted = {(a, b): draw_principle(weighed(file), (a.id, b.id), seed=work.config.seed) for a, b in pairs}
        new = {pair: (frozenset(s.id for s in pair), principle.digest) for pair, principle in wanted.items()}
        unjudged.append(Unjudged(judge, file, [pair for pair, key in new.items() if key not in asked]))
        asked |= set(new.values())
    return [one for one in unjudged if one.pairs]


def _find_unknown(comparisons: Sequence[Comparison], *, judge: Model, files: Sequence[Constitution]) -> list[Principle]:
    """Principles, by id and text, under which the run's judge compared nothing. A weight is no question."""
    known = {(c.principle.id, c.principle.text_digest) for c in comparisons if c.judge_id == judge.id}
    wanted = {(p.id, p.digest): p for file in files for p in weighed(file)}
    return [principle for key, principle in wanted.items() if key not in known]


def _count(work: Work, unjudged: Sequence[Unjudged], judged: JudgedRound) -> DiffQuestions:
    """Refuses what cannot be asked, before anything is spent."""
    if not unjudged:
        return DiffQuestions([], [], 0, 0)
    if is_recorded(work):
        name = weighed(unjudged[0].file)[0].id
        raise StageError(
            f'nobody can be asked about principle "{name}": the verdicts of this run were recorded',
            where=str(work.run.path),
            fix="change weights alone, or judge the responses with `rlaif generate-prefs`",
        )
    judges = {one.judge.model.id: one.judge for one in unjudged}
    decoding = {judge_id: _decoding(work, judge) for judge_id, judge in judges.items()}
    questions = [
        (judge, question)
        for judge, file, pairs in unjudged
        for question, _ in render_questions(
            plan_questions(
                pairs, constitution=file, template=_template(work, judge), config=judge.run_judge.config,
                draw_seed=work.draw_seed,
            ),
            prompts=judged.prompts, template=_template(work, judge), judge_id=judge.model.id,
            decoding=decoding[judge.model.id],
        )
    ]  # fmt: skip
    answered = work.ledger.judgements_for([question.id for _, question in questions])
    owing = {judge.model.id for judge, question in questions if question.id not in answered}
    names = list(dict.fromkeys(question.principles[0].id for _, question in questions))
    for judge, file, _ in unjudged:
        if judge.model.id in owing:
            check_judge(judge.run_judge.config, constitution=file, template=_template(work, judge))
    return DiffQuestions(list(unjudged), names, len(questions), len(answered))


def _template(work: Work, judge: AskedJudge) -> JudgeTemplate:
    """The one that the judge judged the run with."""
    return stored_template(work, work.run.config["inputs"].get(judge.run_judge.template_key))


def _files_to_ask(principles: Sequence[Principle]) -> list[Constitution]:
    """The principles as files that hold nothing else; one id with two texts stands in two files."""
    files: list[list[Principle]] = []
    for principle in principles:
        place = next((file for file in files if all(p.id != principle.id for p in file)), None)
        if place is None:
            files.append(place := [])
        place.append(principle.model_copy(update={"weight": 1.0}))
    return [Constitution(name="asked by a diff", principles=tuple(file), source="") for file in files]


def _ask(work: Work, judged: JudgedRound, *, judges: Sequence[AskedJudge], to_ask: DiffQuestions) -> Judging:
    if not to_ask.unjudged:
        say("nothing to ask: the run's judge has answered all of it")
        return merge_judgings([])
    say(f"{to_ask.num_questions - to_ask.num_answered} questions to ask, {to_ask.num_answered} answered already")
    return merge_judgings([one for judge in judges for one in _ask_judge(work, judged, judge=judge, to_ask=to_ask)])


def _ask_judge(work: Work, judged: JudgedRound, *, judge: AskedJudge, to_ask: DiffQuestions) -> Iterator[Judging]:
    own = [one for one in to_ask.unjudged if one.judge.model.id == judge.model.id]
    if not own:
        return
    scorer = _find_scorer(work, judge)
    for _, file, pairs in own:
        # In a folder of its own: the run's plans stay as they are.
        with tempfile.TemporaryDirectory(prefix="rlaif-diff-") as folder, naming_next_step(KEPT):
            judging = judge_pairs(
                pairs, prompts=judged.prompts, scorer=scorer, plan_path=Path(folder) / "questions_plan.json",
                asking=Asking(
                    constitution=file, template=_template(work, judge), config=judge.run_judge.config,
                    ledger=work.ledger, budget=work.judge_budget, draw_seed=work.draw_seed, again=AGAIN,
                ),
            )  # fmt: skip
        yield judging


def draws_answers(judge: RunJudge) -> bool:
    """Whether a judge may answer the same question otherwise: behind a server, and not asked at temperature 0."""
    return judge.config.model.engine == "openai" and judge.config.endpoint.temperature != 0


def _is_served(judge: AskedJudge) -> bool:
    return judge.run_judge.config.model.engine == "openai"


def _decoding(work: Work, judge: AskedJudge) -> str:
    """Part of a question: how the judge draws its replies."""
    scorer = work.load_judge(judge.run_judge.config) if _is_served(judge) else None
    return scorer.decoding if isinstance(scorer, StreamingScorer) else GREEDY


def _find_scorer(work: Work, judge: AskedJudge) -> TokenScorer:
    """A judge that judged the run: one behind a server is asked in a stream, a local one loaded when it must be."""
    local = _RunsJudge(work, judge)
    if not _is_served(judge):
        return local
    served = local.load()
    return served.live() if isinstance(served, BatchingScorer) else served  # somebody waits for the answers


class _RunsJudge:
    """A judge that judged the run, loaded when it is first asked; another one in its place is refused."""

    def __init__(self, work: Work, judge: AskedJudge) -> None:
        self._work, self._judge = work, judge

    @property
    def fingerprint(self) -> Model:
        return self._judge.model

    @cached_property
    def _scorer(self) -> TokenScorer:
        return self.load()

    def load(self) -> TokenScorer:
        scorer = self._work.load_judge(self._judge.run_judge.config)
        if scorer.fingerprint.id != self._judge.model.id:
            raise ModelError(
                "the judge is no longer the model that judged this run",
                where=self._judge.run_judge.name,
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
