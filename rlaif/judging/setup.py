"""The configured judge -> an engine that answers, checked before anything is spent, and what it may still cost.

Knows every engine; the stages see only the interface. Asks nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from rlaif import frontdesk
from rlaif.config.generate import (
    FRONTDESK,
    JudgeConfig,
    JudgeModelConfig,
    ModelConfig,
    PolicyModelConfig,
    SamplingConfig,
)
from rlaif.config.models import is_frontdesk
from rlaif.config.scale import ScaleConfig
from rlaif.console import say
from rlaif.constitution.principles import PrincipleVocabulary, check_wording, load_vocabulary, parse_constitution
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.batch_journal import count_batch_calls
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import SentRequests, judge_folders, read_planned, read_sent, read_streamed
from rlaif.ledger.answered import Paid, find_paid, find_served_models, sum_paid
from rlaif.ledger.store import Ledger
from rlaif.models.budget import NOTHING, Budget, Spending
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.endpoint.http import find_address
from rlaif.models.interface import StreamingScorer, TextGenerator, TokenScorer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.ray.cluster import load_ray
from rlaif.models.ray.describe import describe_causal_lm
from rlaif.models.ray.engine import Described, RayGenerator, RayScorer
from rlaif.models.scripted_engine import ScriptedEngine
from rlaif.models.tokens.prompt_tokens import PromptEncoder, choice_token_ids
from rlaif.models.vllm.engine import VllmEngine
from rlaif.models.vllm.process import find_vllm
from rlaif.models.weights.loading import LoadedModel, load_causal_lm, load_tokenizer
from rlaif.models.weights.model_folder import find_model_folder
from rlaif.records import Constitution

AnyModelConfig = TypeVar("AnyModelConfig", bound=ModelConfig)


def load_judge(config: JudgeConfig, *, budget: Budget | None = None, scale: ScaleConfig | None = None) -> TokenScorer:
    """The judge, ready to be asked; `budget`: what it may cost, shared with who asks it in batches.

    `scale`: where it is computed; an endpoint is asked from here.
    """
    if scale is not None and scale.engine == "ray" and config.model.engine != "openai":
        return _spread_judge(config, budget=budget or make_budget(config), scale=scale)
    if config.model.engine == "openai":
        engine = OpenAIEngine(config, budget=budget or make_budget(config))
        how = "in batches" if config.endpoint.batch_api else f"{config.endpoint.concurrency} questions at once"
        say(f"judge: {config.model.path} at {engine.host}, {how}")
        return engine
    if config.model.engine == "scripted":
        return ScriptedEngine(config.model.path)
    if config.model.engine == "vllm":
        return load_vllm(config.model, part="judge")
    return TransformersEngine(load_model(config.model, part="judge"))


def load_vllm(config: JudgeModelConfig | PolicyModelConfig, *, part: Literal["policy", "judge"]) -> VllmEngine:
    """A model that vLLM runs, once it is asked; until then its tokenizer alone is loaded."""
    say(f"the {part} runs in vLLM {find_vllm()}, in a process of its own: {config.path}")
    path = resolve_path(config.path, part=part)
    return VllmEngine(config.model_copy(update={"path": path}), options=config.vllm)


def load_generator(config: PolicyModelConfig) -> TextGenerator:
    """The policy, ready to be sampled."""
    if config.engine == "vllm":
        return load_vllm(config, part="policy")
    return TransformersEngine(load_model(config, part="policy"))


def _spread_judge(config: JudgeConfig, *, budget: Budget, scale: ScaleConfig) -> RayScorer:
    load_ray()  # a missing package is told before anything is asked
    if config.model.engine == "scripted":
        engine = ScriptedEngine(config.model.path)
        described = Described(engine.fingerprint, engine.context_tokens, engine.count_tokens)
    else:
        described = describe_model(config.model, part="judge")
    on_worker = config.model_copy(update={"model": _for_worker(config.model, scale)})
    return RayScorer(
        described, make_engine=partial(load_judge, on_worker), scale=scale, budget=budget,
        batch_tokens=config.batch_tokens,
    )  # fmt: skip


def spread_policy(config: PolicyModelConfig, *, scale: ScaleConfig) -> RayGenerator:
    """The policy on the workers of a cluster; none of its weights are loaded here."""
    load_ray()
    make_engine = partial(load_generator, _for_worker(config, scale))
    return RayGenerator(describe_model(config, part="policy"), make_engine=make_engine, scale=scale)


def _for_worker(config: AnyModelConfig, scale: ScaleConfig) -> AnyModelConfig:
    """A worker that is given no GPU leaves those of its node alone, and may have another working folder."""
    device = "cpu" if config.device == "auto" and scale.gpus_per_worker == 0 else config.device
    is_folder = config.path != FRONTDESK and Path(config.path).is_dir()
    path = str(Path(config.path).absolute()) if is_folder else config.path
    return config.model_copy(update={"device": device, "path": path})


def describe_model(config: JudgeModelConfig | PolicyModelConfig, *, part: Literal["policy", "judge"]) -> Described:
    """What the driver knows of a model that its workers run: no weights are loaded for it."""
    if config.engine == "vllm":
        engine = load_vllm(config, part=part)
        return Described(engine.fingerprint, engine.context_tokens, engine.count_tokens)
    return describe_causal_lm(resolve_path(config.path, part=part), revision=config.revision, dtype=config.dtype)


def check_judge(config: JudgeConfig, *, constitution: Constitution, template: JudgeTemplate) -> None:
    """Before anything is spent: a local judge can give the template's verdicts and knows the principles' words.

    A server's tokens are not known here: its first replies show what it can give.
    """
    if config.model.engine == "openai":
        endpoint = config.endpoint
        find_address(base_url_env=endpoint.base_url_env, api_key_env=endpoint.api_key_env, environ=os.environ)
    if not config.model.is_local:
        return
    if config.model.engine == "vllm":
        find_vllm()
    found = find_model_folder(resolve_path(config.model.path, part="judge"), revision=config.model.revision)
    encoder = PromptEncoder(load_tokenizer(found))
    choice_token_ids(encoder, template.verdict_marker, template.choices)
    if template.reason_max_tokens == 0:
        encoder.encode_response_start(template.verdict_marker)
    if config.principles == "together" and is_frontdesk(config.model.path, part="judge"):
        say("the front desk's judge learnt to read one principle at a time; of several together it is often wrong")
    if config.principles == "together" and constitution.source:
        constitution = parse_constitution(constitution.source, where=constitution.name)  # one by one, without numbers
    check_wording(constitution, judge_dir=found.folder)


def pairs_per_prompt(config: SamplingConfig, *, template: JudgeTemplate) -> int:
    """At most; a judge that does not compare two at a time gives all pairs of a prompt's responses at once."""
    most = math.comb(config.num_samples, 2)
    return min(config.num_pairs, most) if MODES[template.kind].shows == "two" else most


def find_judge_folder(config: JudgeConfig) -> Path | None:
    """The folder of a local judge, which may bring a vocabulary and probes; None for any other."""
    if not config.model.is_local:
        return None
    return find_model_folder(resolve_path(config.model.path, part="judge"), revision=config.model.revision).folder


def find_vocabulary(folder: Path | None) -> PrincipleVocabulary | None:
    return load_vocabulary(folder) if folder is not None else None


def make_budget(config: JudgeConfig, *, spent: Spending = NOTHING) -> Budget:
    """The configured caps; `spent`: what the run has paid already."""
    return Budget(max_calls=config.max_calls, max_tokens=config.max_tokens, max_cost=config.max_cost, spent=spent)


def find_spent(ledger: Ledger, stage_dirs: Iterable[Path]) -> Spending:
    """What earlier attempts of a run have paid its judges.

    A request that was sent and left no trace, because the run was killed, counts as what it could cost at most.
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
    """One question's requests: what its answers and failures cost, and the bound of each request without either."""
    calls = sum(part.calls for part in parts)
    lost = max(0, calls - paid.calls)
    if any(part.is_counted_by_answers for part in parts):
        calls = max(1, calls, paid.calls)
    bound = max((part.bound for part in parts), key=lambda bound: bound.tokens)
    return Spending(calls, paid.tokens + lost * bound.tokens, paid.cost + lost * bound.cost)


def expect_served_models(scorer: TokenScorer, *, ledger: Ledger, stage_dirs: Iterable[Path]) -> None:
    """A judge behind a server must go on as the model that gave its answers so far."""
    if isinstance(scorer, StreamingScorer):
        folders = [folder for stage_dir in stage_dirs for folder in judge_folders(stage_dir)]
        streamed = {key for folder in folders for key in read_streamed(folder)}
        for served_model in find_served_models(ledger, streamed, judge_id=scorer.fingerprint.id):
            scorer.expect_model(served_model)


def load_model(config: ModelConfig, *, part: Literal["policy", "judge"], merge: bool = True) -> LoadedModel:
    """merge: an adapter goes into its base model's weights."""
    say(f"loading the {part}: {config.path}")
    path = resolve_path(config.path, part=part)
    return load_causal_lm(path, revision=config.revision, dtype=config.dtype, device=config.device, merge=merge)


def resolve_path(path: str, *, part: Literal["policy", "judge"]) -> str:
    if path != FRONTDESK:
        return path
    return str(frontdesk.POLICY_DIR if part == "policy" else frontdesk.JUDGE_DIR)
