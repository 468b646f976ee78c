"""Several judges and templates on labelled pairs -> a row of figures for each, beside the longer reply.

Everything that can be refused is refused before the first model is loaded. Each model is loaded once and is out of
memory before the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.console import say
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.errors import DataError
from rlaif.judge_health.trial import Trial, ask_trial, count_planned, draw_numbers
from rlaif.judge_health.trial_figures import TrialRow, compute_length_row, compute_row
from rlaif.judge_health.wordings import FRAMES, Wording
from rlaif.judging.setup import check_judge, find_judge_folder, find_spent, find_vocabulary
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget, make_budget
from rlaif.models.interface import TokenScorer
from rlaif.models.open import open_judge
from rlaif.models.weights.loading import free_memory
from rlaif.records import Constitution, Value

LEDGER_NAME, PLANS = "ledger.sqlite", "plans"


class JudgeComparison(Value):
    """What judges make of pairs whose better reply is known."""

    num_pairs: int
    num_ties: int
    """Pairs that are labelled a tie: asked about, and in no share."""
    num_asked_again: int
    """Pairs that were asked about in three other wordings."""
    rows: tuple[TrialRow, ...]
    """The first row is the rule that the longer reply wins."""
    notes: tuple[str, ...] = ()


class Candidate(NamedTuple):
    """One judge with one template."""

    config: JudgeConfig
    template: JudgeTemplate
    wordings: tuple[Wording, ...]
    """The paraphrases that this judge is asked in."""

    @property
    def name(self) -> str:
        return f"{self.config.model.path} {self.template_name}"

    @property
    def template_name(self) -> str:
        return Path(self.template.name).stem


def compare_judges(
    trial: Trial,
    *,
    judges: Sequence[JudgeConfig],
    folder: Path,
    wordings: Sequence[Wording] = FRAMES,
    num_asked_again: int = 0,
) -> JudgeComparison:
    """Ask every judge, each with its template.

    folder: where the ledger of the answers and the plans are kept. wordings: three paraphrases, in which
    `num_asked_again` of the pairs are asked again.
    """
    check_principles(trial)
    asked_again = draw_numbers(trial.pairs, num_asked_again)
    models = [judge.model for judge in judges]
    in_order = sorted(judges, key=lambda judge: models.index(judge.model))
    candidates = [check_candidate(trial, judge, wordings=wordings if asked_again else ()) for judge in in_order]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [compute_length_row(trial.pairs)]
    with Ledger.open(folder / LEDGER_NAME) as ledger:
        for _, same in groupby(candidates, key=lambda one: one.config.model):
            rows += _ask_model(trial, list(same), ledger=ledger, folder=folder, asked_again=asked_again)
    return JudgeComparison(
        num_pairs=len(trial.pairs),
        num_ties=sum(not pair.has_winner for pair in trial.pairs),
        num_asked_again=len(asked_again),
        rows=tuple(rows),
        notes=tuple(_find_notes(candidates, is_reworded=bool(wordings and asked_again))),
    )


def check_principles(trial: Trial) -> None:
    """Refuse pairs that no principle can be found for."""
    bare = [pair for pair in trial.pairs if pair.principle is None]
    if bare and trial.constitution is None:
        raise DataError(
            f"{len(bare)} of {len(trial.pairs)} pairs have no principle to be judged by",
            fix="add a column `principle`, or name a principle file with --constitution",
        )


def check_candidate(trial: Trial, judge: JudgeConfig, *, wordings: Sequence[Wording]) -> Candidate:
    """The judge with its template, refused where it cannot be asked about the pairs. Loads no model."""
    template = load_template(judge.template)
    for constitution in _find_constitutions(trial):
        check_judge(judge, constitution=constitution, template=template)
    count_planned(trial, template=template, config=judge, numbers=range(len(trial.pairs)))
    # Frames are made of words that a judge with a closed vocabulary never met.
    reads_any_words = find_vocabulary(find_judge_folder(judge)) is None
    return Candidate(judge, template, tuple(wordings) if reads_any_words else ())


def _find_constitutions(trial: Trial) -> Iterator[Constitution]:
    own = {pair.principle.id: pair.principle for pair in trial.pairs if pair.principle is not None}
    if own:
        yield Constitution(name="principles of labelled pairs", principles=tuple(own.values()), source="")
    if trial.constitution is not None and any(pair.principle is None for pair in trial.pairs):
        yield trial.constitution


def _ask_model(
    trial: Trial, candidates: Sequence[Candidate], *, ledger: Ledger, folder: Path, asked_again: Sequence[int]
) -> Iterator[TrialRow]:
    """The rows of one model with its templates. The caps of its configuration limit all that the model costs."""
    config = candidates[0].config
    budget = make_budget(config, spent=find_spent(ledger, _find_plans(folder)))
    scorer = open_judge(config, budget=budget)
    try:
        for candidate in candidates:
            yield ask_candidate(
                trial, candidate, scorer=scorer, budget=budget, ledger=ledger, folder=folder, asked_again=asked_again
            )
    finally:
        scorer.close()
        del scorer
        free_memory()


def ask_candidate(
    trial: Trial,
    candidate: Candidate,
    *,
    scorer: TokenScorer,
    budget: Budget,
    ledger: Ledger,
    folder: Path,
    asked_again: Sequence[int] = (),
) -> TrialRow:
    """Ask one judge with one template about all pairs, then again in other wordings, and compute its row."""
    plans = folder / PLANS
    ask = partial(
        ask_trial, trial, scorer=scorer, config=candidate.config, template=candidate.template, ledger=ledger,
        folder=plans, budget=budget,
    )  # fmt: skip
    say(f"judge {candidate.name}: {len(trial.pairs)} pairs")
    answers = ask(label=candidate.name)
    reworded = [
        ask(numbers=asked_again, wording=wording, label=f"{candidate.name}, paraphrase {number}")
        for number, wording in enumerate(candidate.wordings, start=1)
    ]
    return compute_row(
        trial.pairs, answers,
        judge=candidate.config.model.path, template=candidate.template_name, mode=candidate.template.kind,
        reworded=reworded, asked_again=asked_again,
    )  # fmt: skip


def _find_plans(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / PLANS).glob("*") if path.is_dir())


def _find_notes(candidates: Sequence[Candidate], *, is_reworded: bool) -> Iterator[str]:
    for model in dict.fromkeys(one.config.model.path for one in candidates if is_reworded and not one.wordings):
        yield f"{model} reads a closed set of words, so it was not asked in other wordings"
