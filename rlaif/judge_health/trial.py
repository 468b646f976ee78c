"""Labelled pairs and a judge -> what the judge says of each pair, as given and in three other wordings.

The pairs are asked as a run asks its own, in the mode of the template and once under each principle. An answer counts
once it is in the ledger, so a trial that was interrupted asks only what is missing. Computes no figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.constitution.selection import prepare_constitution
from rlaif.judge_health.labelled_pairs import LabelledPair
from rlaif.judge_health.wordings import AS_GIVEN, Wording
from rlaif.judging.asking import Asking
from rlaif.judging.judge import judge_pairs
from rlaif.judging.questions import plan_questions
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget
from rlaif.models.interface import TokenScorer
from rlaif.models.open import engine_of
from rlaif.preferences.pairing import label_pairs
from rlaif.records import Comparison, Constitution, FailedJudgement, Judgement, Prompt, Sample, digest_text
from rlaif.stats.logits import canonical_pair

PLAN_NAME = "questions_plan.json"
NO_SOURCE = "principles of labelled pairs"


class Trial(NamedTuple):
    """What all judges are asked."""

    pairs: Sequence[LabelledPair]
    constitution: Constitution | None
    """Judges the pairs that have no principle of their own."""
    draw_seed: int = 0
    """Draws the principle of a pair for a judge that is asked under one principle alone."""


class Answers(NamedTuple):
    """What one judge said of the pairs under one wording."""

    p_first: dict[int, float]
    """Number of the pair -> probability that its first reply is better; pairs without a verdict are missing."""
    judgements: list[Judgement]
    failed: list[FailedJudgement]
    comparisons: list[Comparison]


class _Records(NamedTuple):
    """The pairs of one principle as the records that a judge is asked about."""

    constitution: Constitution
    prompts: dict[str, Prompt]
    pairs: list[tuple[Sample, Sample]]
    numbers: list[int]


def make_prompt_ids(pairs: Sequence[LabelledPair]) -> list[str]:
    """The id of each pair's prompt: pairs of one prompt are no independent evidence."""
    return [Prompt(messages=pair.messages).id for pair in pairs]


def draw_numbers(pairs: Sequence[LabelledPair], num: int) -> list[int]:
    """The numbers of at most `num` pairs, drawn by their texts: the same pairs in each trial of the same file."""

    def drawn_by(number: int) -> str:
        pair = pairs[number]
        return digest_text(f"{pair.messages[-1].content}\n{pair.first}\n{pair.second}\n{number}")

    return sorted(sorted(range(len(pairs)), key=drawn_by)[:num])


def count_planned(trial: Trial, *, template: JudgeTemplate, config: JudgeConfig, numbers: Sequence[int]) -> int:
    """How many questions the pairs need. Raises where the template cannot ask about them."""
    return sum(
        1
        for records in _group(trial, numbers, wording=AS_GIVEN, config=config)
        for _ in plan_questions(
            records.pairs, constitution=records.constitution, template=template, config=config,
            draw_seed=_find_seed(trial, config),
        )
    )  # fmt: skip


def ask_trial(
    trial: Trial,
    *,
    scorer: TokenScorer,
    config: JudgeConfig,
    template: JudgeTemplate,
    ledger: Ledger,
    folder: Path,
    budget: Budget,
    numbers: Sequence[int] | None = None,
    wording: Wording = AS_GIVEN,
    label: str = "",
) -> Answers:
    """Ask the judge about the pairs of these numbers (None: all), each under its principle.

    folder: where the plans of batches and the logs of requests are kept.
    """
    # A local judge that gave no verdict would give none again.
    attempts = 1 if engine_of(config.model).is_local else config.max_attempts
    config = config.model_copy(update={"max_attempts": attempts})
    found = Answers({}, [], [], [])
    every = range(len(trial.pairs)) if numbers is None else numbers
    for records in _group(trial, every, wording=wording, config=config):
        asking = Asking(
            constitution=records.constitution, template=template, config=config, ledger=ledger, budget=budget,
            draw_seed=_find_seed(trial, config), again="run the same command again",
        )  # fmt: skip
        plan = folder / _name_plan(records, asking=asking, judge_id=scorer.fingerprint.id) / PLAN_NAME
        unique = {canonical_pair(first.id, second.id): (first, second) for first, second in records.pairs}
        judging = judge_pairs(
            list(unique.values()), prompts=records.prompts, asking=asking, scorer=scorer, plan_path=plan, label=label
        )
        found.judgements.extend(judging.judgements)
        found.failed.extend(judging.failed)
        found.comparisons.extend(judging.comparisons)
        found.p_first.update(_read_labels(records, judging.comparisons, draw_seed=asking.draw_seed))
    return found


def _group(trial: Trial, numbers: Sequence[int], *, wording: Wording, config: JudgeConfig) -> Iterator[_Records]:
    """The records of the pairs, principle by principle; pairs without a principle of their own come together."""
    by_principle: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        principle = trial.pairs[number].principle
        by_principle[principle.id if principle is not None else ""].append(number)
    for found in by_principle.values():
        principle = trial.pairs[found[0]].principle
        constitution = trial.constitution
        if principle is not None:
            constitution = Constitution(name=NO_SOURCE, principles=(principle,), source="")
        if constitution is None:
            raise ValueError("pairs without a principle need a constitution")
        constitution = prepare_constitution(wording.reword_constitution(constitution), mode=config.principles)
        yield _make_records(trial.pairs, found, wording=wording, constitution=constitution)


def _make_records(
    pairs: Sequence[LabelledPair], numbers: list[int], *, wording: Wording, constitution: Constitution
) -> _Records:
    records = _Records(constitution, {}, [], numbers)
    for number in numbers:
        pair = pairs[number]
        prompt = Prompt(messages=wording.reword_messages(pair.messages))
        records.prompts[prompt.id] = prompt
        records.pairs.append((_make_sample(prompt, pair.first), _make_sample(prompt, pair.second)))
    return records


def _make_sample(prompt: Prompt, text: str) -> Sample:
    return Sample(prompt_id=prompt.id, policy_id="labelled pairs", finish_reason="recorded", text=text)


def _find_seed(trial: Trial, config: JudgeConfig) -> int | None:
    return trial.draw_seed if config.principles == "sampled" else None


def _name_plan(records: _Records, *, asking: Asking, judge_id: str) -> str:
    """The folder of a plan, named by all that decides its questions: with other pairs there is another plan."""
    parts = [
        judge_id, asking.template.digest, asking.config.model_dump_json(), str(asking.draw_seed),
        *(principle.model_dump_json() for principle in records.constitution.principles),
        *(f"{first.id} {second.id}" for first, second in records.pairs),
    ]  # fmt: skip
    return digest_text("\n".join(parts))[:16]


def _read_labels(
    records: _Records, comparisons: Sequence[Comparison], *, draw_seed: int | None
) -> Iterator[tuple[int, float]]:
    """The label of each pair that has one, as the pair is listed."""
    labels = label_pairs(comparisons, constitution=records.constitution, draw_seed=draw_seed)
    for number, (first, second) in zip(records.numbers, records.pairs, strict=True):
        key = canonical_pair(first.id, second.id)
        if key in labels:
            p = labels[key].p_first
            yield number, p if key[0] == first.id else 1 - p
