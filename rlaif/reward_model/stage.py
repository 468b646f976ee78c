"""The stage `reward model`: the preferences of all rounds so far -> a reward model on the starting policy's trunk.

Takes values out of the run, trains, and closes the stage. Under a launcher the first process does so, and the others
call `fit` with what it sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rlaif.cleaning.clean import clean_rows
from rlaif.cleaning.kinds import PREFERENCES as PREFERENCE_KIND
from rlaif.config.cleaning import CleaningConfig
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.errors import DataError
from rlaif.ledger.sign_offs import StatedHead, state_head
from rlaif.models.weights.loading import LoadedModel
from rlaif.preferences.pool import SplitRows, digest_pool, read_pool
from rlaif.preferences.stage import DATASET
from rlaif.records import Tally, TrainingRow
from rlaif.reward_model.members import count_steps, train_ensemble
from rlaif.reward_model.save import describe_bound
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.run.book import Book
from rlaif.run.folder import RunFolder
from rlaif.run.input_checks import expect_policy, expect_preferences
from rlaif.run.round import Round, seed_of_round
from rlaif.run.shelf import Shelf
from rlaif.run.stages import PREFERENCES, REWARD_MODEL
from rlaif.sampling.stage import find_evaluated, knows_evaluated, note_cleaning
from rlaif.training.crew import call_in
from rlaif.training.listener import Listener
from rlaif.training.log import TrainingLog
from rlaif.training.team import ALONE, Team

NOBODY = Listener()


class RewardModelJob(NamedTuple):
    """What every process of a team needs to train the reward model of a round."""

    config: RunConfig
    run: RunFolder
    round: int
    rows: Sequence[TrainingRow]
    """The preferences to train on."""


def train_on_preferences(round: Round, book: Book, shelf: Shelf) -> None:
    """The round's reward model, fitted from scratch to the preferences of all rounds so far."""
    if book.is_done(REWARD_MODEL, round=round.number):
        return
    rows = _clean(round, read_rows_so_far(round, book))
    base = shelf.policy("start")
    digest = digest_rows_so_far(round)
    expect_policy(round, REWARD_MODEL, base.fingerprint)
    expect_preferences(round, REWARD_MODEL, digest=lambda: digest)
    config = round.config.reward_model
    steps = count_steps(config, num_rows=len(rows.train)) * config.num_members
    job = RewardModelJob(round.config, round.run.absolute(), round.number, rows.train)
    with TrainingLog(round.metrics, "reward_model", total=steps, first_step=1) as log:
        call_in(round.team, job)
        trained = fit(
            job,
            base=base,
            out_dir=shelf.reward_model_dir,
            team=round.team,
            test_rows=rows.test,
            dataset_digest=digest,
            ledger_head=state_head(round.ledger),
            listener=log.listener,
        )
    _say_accuracy(trained)
    round.ledger.append([base.fingerprint, trained.loaded.fingerprint])
    book.finish(
        REWARD_MODEL,
        round=round.number,
        tally=_count_odd(rows.count_cleaned(trained.train_tally), rows.num_odd),
        records=[trained.card],
        constitution_id=round.constitution.id,
    )


def follow_reward_model(job: RewardModelJob, *, team: Team) -> None:
    """Train the reward model in a process that is not the first one: it measures, says and writes nothing."""
    shelf = Shelf(job.config, job.run, round=job.round)
    fit(job, base=shelf.policy("start"), out_dir=shelf.reward_model_dir, team=team)


def fit(
    job: RewardModelJob,
    *,
    base: LoadedModel,
    out_dir: Path,
    team: Team = ALONE,
    test_rows: Sequence[TrainingRow] = (),
    dataset_digest: str = "",
    ledger_head: StatedHead | None = None,
    listener: Listener = NOBODY,
) -> TrainedRewardModel:
    """Train the reward model of a job, in every process of the team. The first one measures on `test_rows`."""
    config = job.config.reward_model
    train = train_ensemble if config.num_members > 1 else partial(train_reward_model, resume=True)
    return train(
        base=base,
        train_rows=job.rows,
        test_rows=test_rows,
        config=config,
        out_dir=out_dir,
        seed=seed_of_round(job.config.seed, job.round),
        dataset_digest=dataset_digest,
        ledger_head=ledger_head,
        listener=listener,
        team=team,
    )


def _clean(round: Round, rows: SplitRows) -> SplitRows:
    """The rows to train on, cleaned; held-out ones stay as they are. A run's own texts are never corrected.

    Of the run's own preferences nothing is looked for by default.
    """
    config, is_given = round.config.cleaning, round.config.reward_model.preferences is not None
    if not is_given and config == CleaningConfig():
        return rows
    held_out = [row.prompt for row in rows.test]
    evaluated = find_evaluated(round.config) if knows_evaluated(round.config) else []
    cleaned = clean_rows(
        rows.train, kind=PREFERENCE_KIND, config=config, evaluated=[*held_out, *evaluated], can_fix=is_given
    )
    note_cleaning(round, REWARD_MODEL, cleaned.report)
    if not cleaned.rows:
        raise DataError("cleaning dropped every preference", where="cleaning", fix="drop less: cleaning.*")
    return rows._replace(train=cleaned.rows, dropped=cleaned.report.dropped)


def read_rows_so_far(round: Round, book: Book) -> SplitRows:
    """The preferences of all rounds so far, or those that the configuration names: to train on, and held out."""
    config = round.config.reward_model
    if config.preferences is None:
        for number in range(round.number + 1):
            book.require(PREFERENCES, round=number)
    return read_pool(
        _find_pool(round),
        test_fraction=round.config.prompts.test_fraction,
        given=config.preferences,
        part=config.split,
        max_odd_rows=config.max_odd_rows,
    )


def digest_rows_so_far(round: Round) -> str:
    """The digest of the preferences that `read_rows_so_far` reads."""
    return digest_pool(_find_pool(round), given=round.config.reward_model.preferences)


def _find_pool(round: Round) -> list[Path]:
    return [round.run.stage_dir(number, PREFERENCES) / DATASET for number in range(round.number + 1)]


def _count_odd(tally: Tally, num_odd: int) -> Tally:
    if not num_odd:
        return tally
    say(f"preferences that cannot be read: {num_odd} left out")
    return Tally(num_in=tally.num_in + num_odd, dropped={**tally.dropped, "odd": num_odd})


def _say_accuracy(trained: TrainedRewardModel) -> None:
    accuracy, held_out = trained.card.accuracy, trained.held_out
    if held_out.rated is not None and held_out.rated.correlation is not None:
        say(
            f"reward model: correlation {held_out.rated.correlation:.3f} with {held_out.rated.num} held-out ratings "
            "and thumbs"
        )
    if accuracy is None:
        return
    ties = f"; {held_out.num_ties} ties left out" if held_out.num_ties else ""
    say(
        f"reward model: orders {accuracy.mean:.1%} of {held_out.num_pairs} held-out pairs as the label "
        f"says, 95 % interval {accuracy.low:.1%} to {accuracy.high:.1%} over {accuracy.n} prompts"
        f"{ties}{describe_bound(held_out)}"
    )
