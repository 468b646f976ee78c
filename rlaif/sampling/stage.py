"""The stages `prompts` and `samples`: a round's prompts, and the policy's responses to them.

Takes values out of the run, hands them to prompts.py and sampler.py, and closes the stages. Also which prompts are
trained on and which are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rlaif.cleaning.clean import clean_rows
from rlaif.cleaning.kinds import DEMONSTRATIONS
from rlaif.cleaning.kinds import PROMPTS as PROMPT_KIND
from rlaif.cleaning.report import CleaningReport, describe_cleaning, describe_share, write_cleaning
from rlaif.config.cleaning import CleaningConfig
from rlaif.config.generate import PromptsConfig
from rlaif.config.models import FRONTDESK
from rlaif.config.run import MAX_RECORDS, RunConfig
from rlaif.console import say
from rlaif.errors import DataError, StageError
from rlaif.files.rows import read_rows
from rlaif.models.interface import TextGenerator
from rlaif.records import Prompt, Sample, Tally, find_held_out, put_before
from rlaif.records.gate import GateResult
from rlaif.run.book import Book
from rlaif.run.input_checks import expect_further_prompts, expect_policy, expect_prompts
from rlaif.run.round import Round
from rlaif.run.shelf import Shelf
from rlaif.run.stage_gates import pass_gate
from rlaif.run.stages import POLICY, PROMPTS, SAMPLES, SFT, Stage
from rlaif.run.world import draw_further, draw_held_out, draw_prompts, is_frontdesk_world
from rlaif.sampling.prompts import (
    DemonstrationRead,
    PromptRead,
    drop_over_length,
    read_demonstrations,
    read_prompts,
)
from rlaif.sampling.sampler import find_instructions, sample_responses


def make_prompts(round: Round, book: Book, shelf: Shelf) -> list[Prompt]:
    """The prompts of this round: different ones, each short enough to be answered."""
    if book.is_done(PROMPTS, round=round.number):
        return book.used(PROMPTS, Prompt, round=round.number)
    read = read_given_prompts(round.config, round=round.number)  # before the policy is loaded
    note_cleaning(round, PROMPTS, read.cleaning)
    instructions = find_instructions(round.constitution, under=round.config.sampling.under)
    generator = shelf.generator("current")
    read = drop_long_prompts(read, generator, config=round.config, instructions=instructions)
    if round.number == 0:
        expect_policy(round, PROMPTS, generator.fingerprint)
    expect_prompts(round, PROMPTS, read.prompts)
    book.finish(PROMPTS, round=round.number, tally=read.tally, records=read.prompts)
    return read.prompts


def sample_policy(round: Round, book: Book, shelf: Shelf, *, prompts: Sequence[Prompt]) -> list[Sample]:
    """Each prompt's responses, drawn from the policy."""
    if book.is_done(SAMPLES, round=round.number):
        return book.used(SAMPLES, Sample, round=round.number)
    generator = shelf.generator("current")
    if round.number == 0:
        expect_policy(round, SAMPLES, generator.fingerprint)
    num_samples = round.config.sampling.num_samples
    samples = draw_samples(
        round,
        SAMPLES,
        prompts,
        generator=generator,
        num_samples=num_samples,
        seed=round.seed,
        instructions=find_instructions(round.constitution, under=round.config.sampling.under),
    )
    book.finish(SAMPLES, round=round.number, tally=Tally(num_in=len(samples)), records=samples)
    return samples


def draw_samples(
    round: Round,
    stage: Stage,
    prompts: Sequence[Prompt],
    *,
    generator: TextGenerator,
    num_samples: int,
    seed: int,
    name: str = "",
    instructions: Sequence[str] = ("",),
) -> list[Sample]:
    """Responses for a stage, those of an earlier attempt taken from the ledger.

    name: prefix of the plan's file. instructions: system turns that a prompt's responses get one after the other.
    """
    samples = sample_responses(
        prompts,
        generator=generator,
        config=round.config.sampling,
        num_samples=num_samples,
        seed=seed,
        round=round.number,
        ledger=round.ledger,
        plan_path=round.folder(stage) / f"{name}samples_plan.json",
        label=f"{name}samples",
        instructions=instructions,
    )
    generator.close()
    return samples


def find_training_prompts(round: Round, book: Book) -> list[Prompt]:
    """The round's prompts that are not held out, with the known answers that this run read.

    subtle: a prompt's id is its messages', so the ledger may hold it with another run's answer, or with none.
    """
    book.require(PROMPTS, round=round.number)
    fraction = round.config.prompts.test_fraction
    prompts = book.used(PROMPTS, Prompt, round=round.number)
    held_out = find_held_out((prompt.id for prompt in prompts), test_fraction=fraction)
    return find_known_answers(round, [prompt for prompt in prompts if prompt.id not in held_out])


def find_known_answers(round: Round, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts with the known answers that this run read; those of an embedded world are as they were."""
    rows = read_rows(round.folder(PROMPTS) / "prompts.parquet", wanted={"id", "reference"})
    answers = {row.cells["id"]: row.cells["reference"] for row in rows}
    return [
        prompt if prompt.reference == answers.get(prompt.id) else prompt.changed(reference=answers.get(prompt.id))
        for prompt in prompts
    ]


def further_prompts(config: RunConfig) -> PromptsConfig:
    """How the prompts are read that SEFT names besides the run's."""
    seft = config.seft
    num = MAX_RECORDS if seft.prompts_per_round is None else seft.num_rounds * seft.prompts_per_round
    given = {"path": seft.prompts, "num_prompts": num, "split": PromptsConfig().split}
    return config.prompts.model_copy(update=given)


def find_unlabelled_prompts(round: Round, book: Book) -> list[Prompt]:
    """The prompts whose responses are revised: those that `seft.prompts` names, else the run's training prompts.

    Of named ones those that the run is evaluated on are left out.
    """
    config, seft = round.config, round.config.seft
    if seft.prompts is None:
        return find_training_prompts(round, book)
    if seft.prompts == FRONTDESK:
        return draw_further(config, seft.num_rounds * (seft.prompts_per_round or 1), round=round.number)
    read = read_prompts(further_prompts(config)).prompts
    expect_further_prompts(round, POLICY, read)
    evaluated = {prompt.id for prompt in find_evaluated(config)}
    kept = [prompt for prompt in read if prompt.id not in evaluated]
    say(f"seft.prompts: {len(kept)} prompts, {len(read) - len(kept)} left out because the run is evaluated on them")
    if not kept:
        raise DataError("the run is evaluated on every prompt", where=seft.prompts, fix="name other prompts")
    return kept


def find_evaluation_prompts(round: Round, book: Book) -> list[Prompt]:
    """Prompts that nothing was trained on: the front desk's held-out ones, else the round's test split."""
    limit = round.config.evaluation.num_prompts
    if is_frontdesk_world(round.config):
        return draw_held_out(round.config, limit)
    fraction = round.config.prompts.test_fraction
    prompts = book.used(PROMPTS, Prompt, round=round.number)
    ids = find_held_out((prompt.id for prompt in prompts), test_fraction=fraction)
    held_out = [prompt for prompt in prompts if prompt.id in ids]
    if len(held_out) < 2:
        raise StageError(
            f"{len(held_out)} of the prompts are held out and a comparison needs two",
            where="prompts.test_fraction",
            fix="give more prompts, or start a run with a larger prompts.test_fraction",
        )
    return held_out[:limit]


def read_given_prompts(config: RunConfig, *, round: int = 0) -> PromptRead:
    """The prompts that the configuration names, each once and cleaned. Needs no model.

    The front desk has other prompts in each round; those of a file or data set are the same.
    """
    if is_frontdesk_world(config):
        prompts = draw_prompts(config, round=round)
        read, held_out = PromptRead(prompts, Tally(num_in=len(prompts))), None
    else:
        read = read_prompts(config.prompts)
        held_out = partial(find_held_out, test_fraction=config.prompts.test_fraction)
    evaluated = draw_held_out(config, config.evaluation.num_prompts) if held_out is None else []
    cleaned = clean_rows(
        read.prompts, kind=PROMPT_KIND, config=config.cleaning, evaluated=evaluated, find_held_out=held_out
    )
    if read.prompts and not cleaned.rows:
        raise DataError("cleaning dropped every prompt", where=config.prompts.path, fix="drop less by cleaning.*")
    return PromptRead(cleaned.rows, cleaned.report.count_in(read.tally), cleaned.report)


def find_evaluated(config: RunConfig) -> list[Prompt]:
    """The prompts that the run is evaluated on, as far as the configuration alone tells: nothing may train on them."""
    if is_frontdesk_world(config):
        return draw_held_out(config, config.evaluation.num_prompts)
    prompts = read_given_prompts(config).prompts
    ids = find_held_out((prompt.id for prompt in prompts), test_fraction=config.prompts.test_fraction)
    return [prompt for prompt in prompts if prompt.id in ids]


def read_clean_demonstrations(round: Round, *, stage: Stage = SFT) -> DemonstrationRead:
    """The demonstrations that the configuration names, cleaned, with the tally of cleaning alone."""
    config, sft = round.config, round.config.sft
    read = read_demonstrations(
        sft.demonstrations or "",
        split=sft.split,
        max_odd_rows=sft.max_odd_rows,
        reference=config.prompts.reference_column,
    )
    say(f"demonstrations: {read.tally}")
    evaluated = find_evaluated(config) if knows_evaluated(config) else []
    cleaned = clean_rows(read.demonstrations, kind=DEMONSTRATIONS, config=config.cleaning, evaluated=evaluated)
    note_cleaning(round, stage, cleaned.report)
    if not cleaned.rows:
        raise DataError("cleaning dropped every demonstration", where="sft.demonstrations", fix="drop less: cleaning.*")
    return DemonstrationRead(cleaned.rows, cleaned.report.count_in(Tally(num_in=len(read.demonstrations))))


def knows_evaluated(config: RunConfig) -> bool:
    """Whether the prompts of the evaluation are to be compared with what is trained on, and can be read here.

    Prompts of the hub are loaded for it only where the configuration asks for more than the default report.
    """
    cleaning = config.cleaning
    if {cleaning.leakage, cleaning.near_leakage} == {"off"}:
        return False
    is_asked = cleaning.leakage == "drop" or cleaning.near_leakage != "off"
    return is_asked or is_frontdesk_world(config) or Path(config.prompts.path).exists()


def note_cleaning(round: Round, stage: Stage, report: CleaningReport | None) -> None:
    """Say what cleaning found and write it into the stage's folder; raise `GateClosed` where it dropped too much."""
    if report is None or not (report.has_found or round.config.cleaning != CleaningConfig()):
        return
    for line in describe_cleaning(report):
        say(line)
    at_most = round.config.gates.max_cleaned
    if at_most is not None:  # before the stage begins: other options of cleaning may then still be given
        sentence, is_closed = describe_share(report, at_most=at_most)
        pass_gate(round, GateResult(name="gates.max_cleaned", stage=stage.name, sentence=sentence, is_closed=is_closed))
    write_cleaning(report, round.folder(stage))


def drop_long_prompts(
    read: PromptRead, policy: TextGenerator, *, config: RunConfig, instructions: Sequence[str] = ("",)
) -> PromptRead:
    """The prompts that leave the policy room for a response, and the tally of the others."""
    fitting = drop_over_length(
        read.prompts,
        count_tokens=lambda prompt: max(policy.count_tokens(put_before(prompt.messages, one)) for one in instructions),
        max_tokens=policy.context_tokens - config.sampling.max_new_tokens,
    )
    return PromptRead(
        fitting.prompts,
        Tally(num_in=read.tally.num_in, dropped={**read.tally.dropped, **fitting.tally.dropped}),
    )
