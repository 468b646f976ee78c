"""The configured judges before a run asks them: whether they can give the verdicts, and what they have cost so far.

Opens no engine and asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlaif.config.generate import JudgeConfig, SamplingConfig
from rlaif.config.models import is_frontdesk, resolve_path
from rlaif.console import say
from rlaif.constitution.principles import PrincipleVocabulary, check_wording, load_vocabulary, parse_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.errors import ConfigError
from rlaif.judging.batch_journal import count_batch_calls
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import SentRequests, judge_folders, read_planned, read_sent, read_streamed
from rlaif.ledger.answers import Paid, find_paid, find_served_models, sum_paid
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Spending
from rlaif.models.interface import StreamingScorer, TokenScorer
from rlaif.models.open import check_judge_engine, check_reads_likelihoods, engine_of
from rlaif.models.tokens.prompt_tokens import PromptEncoder, choice_token_ids
from rlaif.models.weights.loading import load_tokenizer
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.records import Constitution


def check_judge(config: JudgeConfig, *, constitution: Constitution, template: JudgeTemplate) -> None:
    """Refuse a judge that cannot be opened or cannot give the template's verdicts, before anything is spent.

    A local judge must also know the words of the principles, if its folder lists words. The tokens of a served judge
    are not known here; its first replies show whether it can give the verdicts.
    """
    check_judge_engine(config)
    mode = MODES[template.kind]
    if mode.check_principles is not None:
        mode.check_principles(constitution, template=template)
    reads_likelihoods = mode.request(template).reads == "likelihood"
    if reads_likelihoods:
        check_reads_likelihoods(config)
        if config.endpoint.batch_api:
            raise ConfigError(
                "a batch endpoint gives no log-probabilities of a given text, and the template contrasts two of them",
                where="judge.endpoint.batch_api",
                fix="leave it out, or use a template that asks for a verdict or a score, such as pair",
            )
    if not engine_of(config.model).is_local:
        return
    found = find_model_folder(resolve_path(config.model.path, part="judge"), revision=config.model.revision)
    encoder = PromptEncoder(load_tokenizer(found))
    if not reads_likelihoods:
        choice_token_ids(encoder, template.verdict_marker, template.choices)
    if template.reason_max_tokens == 0 and not reads_likelihoods:
        encoder.encode_response_start(template.verdict_marker)
    if config.principles == "together" and is_frontdesk(config.model.path, part="judge"):
        say("the front desk's judge learnt to read one principle at a time; of several together it is often wrong")
    if config.principles == "together" and constitution.source:
        constitution = parse_constitution(
            constitution.source, where=constitution.name
        )  # parsed again: principles one by one, without numbers
    check_wording(constitution, judge_dir=found.folder)


def pairs_per_prompt(config: SamplingConfig, *, template: JudgeTemplate) -> int:
    """The most pairs per prompt; a judge that does not compare two at a time judges all pairs of its responses."""
    most = math.comb(config.num_samples, 2)
    return min(config.num_pairs, most) if MODES[template.kind].shows == "two" else most


def find_judge_folder(config: JudgeConfig) -> Path | None:
    """The folder of a local judge, which may hold a vocabulary and probes; None for any other judge."""
    if not engine_of(config.model).is_local:
        return None
    return find_model_folder(resolve_path(config.model.path, part="judge"), revision=config.model.revision).folder


def find_vocabulary(folder: Path | None) -> PrincipleVocabulary | None:
    return load_vocabulary(folder) if folder is not None else None


def find_spent(ledger: Ledger, stage_dirs: Iterable[Path]) -> Spending:
    """The calls, tokens and money that a run's judges have cost in earlier attempts.

    A request that was sent and left no trace, because the run was killed, counts with its upper bound.
    """
    folders = [folder for stage_dir in stage_dirs for folder in judge_folders(stage_dir)]
    sent: dict[str, list[SentRequests]] = {}
    for folder in folders:
        for key, requests in read_sent(folder).items():
            sent.setdefault(key, []).append(requests)
    planned = {key for folder in folders for key in read_planned(folder)} - sent.keys()
    in_plans, paid = sum_paid(ledger, planned), find_paid(ledger, sent)
    total = Spending(in_plans.calls + sum(map(count_batch_calls, folders)), in_plans.tokens, in_plans.cost)
    for key, parts in sent.items():
        total = total.plus(_spent_on(parts, paid.get(key, Paid(0, 0, 0.0, 0))))
    return total


def _spent_on(parts: Sequence[SentRequests], paid: Paid) -> Spending:
    """Cost of one question's requests: of its answers and failures, plus the bound of each request without either."""
    calls = sum(part.calls for part in parts)
    lost = max(0, calls - paid.calls)
    if any(part.is_counted_by_answers for part in parts):
        calls = max(1, calls, paid.calls)
    bound = max((part.bound for part in parts), key=lambda bound: bound.tokens)
    return Spending(calls, paid.tokens + lost * bound.tokens, paid.cost + lost * bound.cost)


def expect_served_models(scorer: TokenScorer, *, ledger: Ledger, stage_dirs: Iterable[Path]) -> None:
    """Make a served judge refuse answers of another model than the one that gave its answers so far."""
    if isinstance(scorer, StreamingScorer):
        folders = [folder for stage_dir in stage_dirs for folder in judge_folders(stage_dir)]
        streamed = {key for folder in folders for key in read_streamed(folder)}
        for served_model in find_served_models(ledger, streamed, judge_id=scorer.fingerprint.id):
            scorer.expect_model(served_model)
