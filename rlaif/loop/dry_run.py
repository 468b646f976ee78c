"""`--dry-run`: everything resolved and checked, calls counted, tokens measured, nothing written.

A few prompts are answered in memory, so that the judge's prompts are measured on real responses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rlaif.calibration.labels import check_principles
from rlaif.config.judge import EndpointConfig, JudgeConfig
from rlaif.config.methods import BY_REWARDS
from rlaif.config.models import FRONTDESK
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.constitution.selection import prepare_constitution
from rlaif.judging.estimate import JudgeEstimate, estimate_judging
from rlaif.judging.panel import check_mode, find_run_judges, load_reward_template, load_score_template
from rlaif.judging.questions import count_questions
from rlaif.judging.recorded import describe_unread, import_recorded
from rlaif.judging.setup import check_judge, pairs_per_prompt
from rlaif.loop.people import check_asking
from rlaif.models.endpoint.settings import reply_limit
from rlaif.models.interface import TextGenerator
from rlaif.models.open import engine_of, open_generator, open_judge
from rlaif.policy.ppo.asked_checks import MAX_SHARE
from rlaif.preferences.people import load_labels
from rlaif.records import Constitution, Prompt, Sample, SamplingParams, find_held_out
from rlaif.sampling.prompts import read_prompts
from rlaif.sampling.sampler import draw_pairs
from rlaif.sampling.stage import drop_long_prompts, further_prompts, read_given_prompts

TRIAL_PROMPTS = 8
TRIAL_RESPONSES = 64
"""Responses that are tried, but those to one prompt at least: 8 prompts with up to 8 responses each."""


class RunEstimate(NamedTuple):
    """One round; later ones ask as much, of other prompts and with a policy that nobody has yet."""

    num_rounds: int
    num_prompts: int
    num_samples: int
    policy_prompt_tokens: int
    """Measured on every prompt, once per response."""
    policy_reply_tokens_at_most: int
    trial_reply_tokens: float
    """Mean length of the trial responses."""
    judges: tuple[JudgeEstimate, ...]
    """Estimate of each judge, in the configuration's order; none where no preferences are made."""
    judge_config: JudgeConfig
    reward: JudgeEstimate | None = None
    """Estimate of the judge as a source of PPO's rewards; None where it is none."""
    revisions: JudgeEstimate | None = None
    """Estimate of the judge of SEFT's responses and their revisions; None where nothing is revised."""
    evaluation: JudgeEstimate | None = None
    """Estimate of the judge that finds the win rate; None where nothing is evaluated."""
    evaluation_config: JudgeConfig | None = None
    checks: JudgeEstimate | None = None
    """Estimate of the win rate's judge while the policy trains; None where it is not asked then."""


def estimate_run(config: RunConfig, *, num_rounds: int = 1, evaluates: bool = False) -> RunEstimate:
    """Load both models, sample and render a few prompts, and count the rest.

    `evaluates`: what comes after the preferences as well, the judge's rewards and the win rate; no preferences are then
    made for a reward model that nothing needs.
    """
    prefers = not evaluates or config.needs_preferences
    constitution = prepare_constitution(load_constitution(config.constitution), mode=config.judge.principles)
    judges = [_Asked(judge.config, judge.template) for judge in find_run_judges(config.judge)]
    evaluator = _find_evaluator(config) if evaluates else None
    by_rewards = any(name in BY_REWARDS for name in config.chain.after)
    rewarder = _find_rewarder(config) if evaluates and by_rewards else None
    critic = _find_critic(config) if evaluates else None
    for judge in (*judges, *(one for one in (rewarder, critic, evaluator) if one is not None)):
        check_judge(judge.config, constitution=constitution, template=judge.template)
        if judge is not rewarder:
            check_mode(config, template=judge.template)
    if (labels := load_labels(config.human)) is not None:
        check_principles(labels, constitution)
        say(f"human labels: {len(labels.rows)}, to be matched with the samples once there are any")
    if config.human.num_items:
        check_asking(config, constitution)
        people = ", ".join(config.human.annotators)
        say(f"people: in each round {people} will be asked about {config.human.num_items} pairs, and the run waits")
    read = read_given_prompts(config)
    policy = open_generator(config.policy)
    prompts = drop_long_prompts(read, policy, config=config).prompts
    sampling = config.sampling
    num_tried = max(1, min(TRIAL_PROMPTS, TRIAL_RESPONSES // sampling.num_samples))
    trial = _try_sampling(prompts[:num_tried], policy, config=config)
    per_prompt = pairs_per_prompt(sampling, template=judges[0].template)
    pairs = draw_pairs(trial, num_pairs=per_prompt, seed=config.seed).pairs
    num_samples = len(prompts) * sampling.num_samples if prefers else 0
    estimate = partial(
        _estimate_judge, pairs=pairs, prompts={prompt.id: prompt for prompt in prompts}, constitution=constitution,
        draw_seed=config.seed if config.judge.principles == "sampled" else None,
    )  # fmt: skip
    # One judge after another: no two are in memory.
    shown = _Shown(len(prompts), sampling.num_samples, per_prompt)
    estimates = tuple(estimate(judge, shown=shown) for judge in (judges if prefers else ()))
    return RunEstimate(
        num_rounds=num_rounds,
        num_prompts=len(prompts),
        num_samples=num_samples,
        policy_prompt_tokens=(
            sampling.num_samples * sum(policy.count_tokens(p.as_segments()) for p in prompts) if prefers else 0
        ),
        policy_reply_tokens_at_most=num_samples * sampling.max_new_tokens,
        trial_reply_tokens=math.fsum(s.token_count for s in trial) / len(trial),
        judges=estimates,
        judge_config=config.judge,
        reward=None if rewarder is None else estimate(rewarder, shown=_shown_in_training(config, prompts)),
        revisions=None if critic is None else estimate(critic, shown=_shown_in_revising(config, prompts)),
        evaluation=None if evaluator is None else estimate(evaluator, shown=_shown_in_evaluation(config, prompts)),
        evaluation_config=None if evaluator is None else evaluator.config,
        checks=estimate(evaluator, shown=_shown_in_checks(config, prompts))
        if evaluator is not None and by_rewards and config.ppo.guards.judge_every is not None
        else None,
    )


class _Asked(NamedTuple):
    config: JudgeConfig
    template: JudgeTemplate


class _Shown(NamedTuple):
    """What a judge is shown at most; samples and pairs are of one prompt."""

    num_prompts: int
    num_samples: int
    num_pairs: int


def _find_evaluator(config: RunConfig) -> _Asked:
    judge = config.evaluation.judge.instead_of(config.judge)
    return _Asked(judge, load_template(judge.template))


def _find_rewarder(config: RunConfig) -> _Asked | None:
    judge = find_run_judges(config.judge)[0].config
    for source in config.ppo.rewards:
        if source.judge:
            return _Asked(judge, load_reward_template(source, judge))
    return None


def _find_critic(config: RunConfig) -> _Asked | None:
    """The judge that scores responses and their revisions, where a method revises."""
    if "seft" not in config.chain.after:
        return None
    judge = find_run_judges(config.judge)[0].config
    return _Asked(judge, load_score_template(RewardConfig(judge=True, template=config.seft.template), judge))


def _shown_in_revising(config: RunConfig, prompts: Sequence[Prompt]) -> _Shown:
    """Each round's responses and as many revisions, as if no two were the same."""
    seft, num_prompts = config.seft, config.seft.prompts_per_round
    if num_prompts is None:
        num_prompts = len(prompts if seft.prompts is None else read_prompts(further_prompts(config)).prompts)
    return _Shown(seft.num_rounds * num_prompts, 2, 0)


def _shown_in_training(config: RunConfig, prompts: Sequence[Prompt]) -> _Shown:
    """Every response that PPO draws, as if no two were the same, those of its evaluations, and those that scores are
    standardised on."""
    ppo = config.ppo
    num_drawn = ppo.num_steps * ppo.num_prompts_per_step * ppo.num_samples_per_prompt
    if any(source.ranks is not None for source in ppo.rewards):
        num_groups = ppo.num_steps * ppo.num_prompts_per_step * _times_trained(config)
        return _Shown(num_groups, ppo.num_samples_per_prompt, math.comb(ppo.num_samples_per_prompt, 2))
    every = ppo.guards.evaluate_every
    num_evaluations = 0 if every is None else 1 + math.ceil(ppo.num_steps / every)
    num_drawn += num_evaluations * _count_held_out(config, prompts)
    num_before = ppo.num_reference_samples if any(ppo.standardises) else 0
    return _Shown(1, num_before + num_drawn * _times_trained(config), 0)


def _times_trained(config: RunConfig) -> int:
    """How often a step comes at most: each alarm may go back to the start."""
    guards = config.ppo.guards
    return 1 + guards.max_roll_backs if guards.on_alarm == "roll_back" else 1


def _shown_in_evaluation(config: RunConfig, prompts: Sequence[Prompt]) -> _Shown:
    """Held-out prompts; each policy's responses against each other, and the best of several against the first."""
    evaluation, fraction = config.evaluation, config.prompts.test_fraction
    num_prompts = evaluation.num_prompts
    if config.prompts.path != FRONTDESK:
        num_prompts = min(num_prompts, len(find_held_out((prompt.id for prompt in prompts), test_fraction=fraction)))
    num_picked = int(evaluation.best_of >= 2)
    return _Shown(num_prompts, 2 * evaluation.num_samples + num_picked, evaluation.num_samples + num_picked)


def _shown_in_checks(config: RunConfig, prompts: Sequence[Prompt]) -> _Shown:
    """Held-out prompts each time, the policy's response to each against the start's."""
    guards = config.ppo.guards
    assert guards.judge_every is not None
    num_checks = math.ceil(config.ppo.num_steps / guards.judge_every)  # at the start there is nothing to compare
    return _Shown(_count_held_out(config, prompts) * num_checks * _times_trained(config), 2, 1)


def _count_held_out(config: RunConfig, prompts: Sequence[Prompt]) -> int:
    """Prompts of an evaluation during training, at most."""
    num_prompts = config.ppo.guards.num_prompts
    if config.prompts.path == FRONTDESK:
        return num_prompts
    fraction = config.prompts.test_fraction
    ids = {prompt.id for prompt in prompts}
    num_trained = len(ids) - len(find_held_out(ids, test_fraction=fraction))
    return min(num_prompts, int(MAX_SHARE * num_trained))


def _estimate_judge(
    judge: _Asked,
    *,
    shown: _Shown,
    pairs: Sequence[tuple[Sample, Sample]],
    prompts: Mapping[str, Prompt],
    constitution: Constitution,
    draw_seed: int | None,
) -> JudgeEstimate:
    num_questions = count_questions(
        num_prompts=shown.num_prompts, num_samples=shown.num_samples, num_pairs=shown.num_pairs,
        constitution=constitution, template=judge.template, config=judge.config, draw_seed=draw_seed,
    )  # fmt: skip
    return estimate_judging(
        pairs, num_questions=num_questions, prompts=prompts, constitution=constitution, template=judge.template,
        config=judge.config, scorer=open_judge(judge.config), draw_seed=draw_seed,
        reply_limit=_reply_limit(judge.config, judge.template),
    )  # fmt: skip


def _reply_limit(config: JudgeConfig, template: JudgeTemplate) -> int | None:
    if not engine_of(config.model).is_served:
        return None
    return reply_limit(config.endpoint, template.reason_max_tokens)


def _describe_caps(estimate: RunEstimate) -> Iterator[str]:
    """What the judges may cost together, and the caps that are below it."""
    asked = list(_estimated_judges(estimate))
    served = [(judge, one) for judge, one in asked if engine_of(one.model).is_served]
    costs = [_cost_at_most(judge, one.endpoint) for judge, one in served]
    at_most: dict[str, float] = {
        "max_calls": sum(judge.num_questions * judge.requests_per_question for judge, _ in asked),
        "max_tokens": sum(judge.prompt_tokens + judge.reply_tokens_at_most for judge, _ in asked),
    }
    known = [cost for cost in costs if cost is not None]
    if known:
        at_most["max_cost"] = math.fsum(known)
        without = (
            f", {len(costs) - len(known)} of {len(costs)} judges without prices" if len(known) < len(costs) else ""
        )
        yield (
            f"judge: about {math.fsum(known):.4f} at most, by the configured prices{without}; retries and further "
            "votes come on top"
        )
    for name, most in at_most.items():
        cap = getattr(estimate.judge_config, name)
        if cap is not None and cap < most:
            yield f"judge.{name} of {cap:,} may stop the run before it is done"


def _estimated_judges(estimate: RunEstimate) -> Iterator[tuple[JudgeEstimate, JudgeConfig]]:
    configs = estimate.judge_config.judges()
    yield from zip(estimate.judges, configs if estimate.judges else (), strict=True)
    if estimate.reward is not None:
        yield estimate.reward, configs[0]
    if estimate.revisions is not None:
        yield estimate.revisions, configs[0]
    if estimate.evaluation is not None and estimate.evaluation_config is not None:
        yield estimate.evaluation, estimate.evaluation_config
    if estimate.checks is not None and estimate.evaluation_config is not None:
        yield estimate.checks, estimate.evaluation_config


def _cost_at_most(judge: JudgeEstimate, endpoint: EndpointConfig) -> float | None:
    if endpoint.prompt_price is None or endpoint.reply_price is None:
        return None
    cost = (judge.prompt_tokens * endpoint.prompt_price + judge.reply_tokens_at_most * endpoint.reply_price) / 1e6
    return cost * (1 - endpoint.batch_discount) if endpoint.batch_api else cost


def _try_sampling(prompts: list[Prompt], policy: TextGenerator, *, config: RunConfig) -> list[Sample]:
    params = SamplingParams(
        temperature=config.sampling.temperature,
        top_p=config.sampling.top_p,
        max_new_tokens=config.sampling.max_new_tokens,
    )
    asked = [(prompt, index) for prompt in prompts for index in range(config.sampling.num_samples)]
    generations = policy.generate(
        [prompt.as_segments() for prompt, _ in asked],
        params=params,
        keys=[(config.seed, int(prompt.id[:15], 16), index) for prompt, index in asked],
    )
    return [
        Sample(
            prompt_id=prompt.id,
            policy_id=policy.fingerprint.id,
            params=params,
            seed=config.seed,
            index=index,
            finish_reason=generation.finish_reason,
            token_count=len(generation.token_ids),
            text=generation.text,
        )
        for (prompt, index), generation in zip(asked, generations, strict=True)
    ]


def describe_recorded(config: RunConfig, *, samples: Path, judgements: Path, columns: Path) -> Iterator[str]:
    """What responses and verdicts that already exist come to, for people. Nobody is asked."""
    is_given = config.constitution != RunConfig().constitution
    constitution = load_constitution(config.constitution) if is_given else None
    recorded = import_recorded(samples, judgements, columns, constitution=constitution)
    yield f"samples, by rows: {recorded.sample_tally}; {len(recorded.prompts)} prompts, {len(recorded.pairs)} pairs"
    yield f"verdicts, by rows: {recorded.judgement_tally}; {len(recorded.comparisons)} comparisons"
    if unread := describe_unread(recorded):
        yield unread
    yield "nothing was written"


def describe_estimate(estimate: RunEstimate) -> Iterator[str]:
    """The estimate for people, and one judge prompt in full."""
    if estimate.num_samples:
        yield (
            f"policy: {estimate.num_samples} responses to {estimate.num_prompts} prompts, "
            f"{estimate.policy_prompt_tokens} prompt tokens (measured), at most "
            f"{estimate.policy_reply_tokens_at_most} new ones (trial mean {estimate.trial_reply_tokens:.1f} each)"
        )
    else:
        yield f"policy: {estimate.num_prompts} prompts; no preferences are made, as nothing is trained on them"
    names = [one.model.path for one in estimate.judge_config.judges()] if estimate.judges else []
    for name, judge in zip(names, estimate.judges, strict=True):
        yield _describe_judge(f"judge{f' {name}' if len(names) > 1 else ''}", judge)
    num_questions = sum(judge.num_questions for judge in estimate.judges)
    if len(names) > 1:
        yield f"{len(names)} judges together: at most {num_questions} questions"
    if estimate.reward is not None:
        yield _describe_judge("rewards in PPO, by the judge", estimate.reward)
        num_questions += estimate.reward.num_questions
    if estimate.revisions is not None:
        yield _describe_judge("responses and revisions in SEFT, by the judge", estimate.revisions)
        num_questions += estimate.revisions.num_questions
    if estimate.evaluation is not None and estimate.evaluation_config is not None:
        yield _describe_judge(f"evaluation, by {estimate.evaluation_config.model.path}", estimate.evaluation)
        num_questions += estimate.evaluation.num_questions
    if estimate.checks is not None and estimate.evaluation_config is not None:
        name = f"checks during training, by {estimate.evaluation_config.model.path}"
        yield _describe_judge(name, estimate.checks)
        num_questions += estimate.checks.num_questions
    yield from _describe_caps(estimate)
    if estimate.num_rounds > 1:
        yield (
            f"that is one round; {estimate.num_rounds} rounds: "
            f"{estimate.num_rounds * estimate.num_samples} responses, at most "
            f"{estimate.num_rounds * num_questions} questions"
        )
    asked = [judge for judge, _ in _estimated_judges(estimate)]
    example = asked[0].example if asked else None
    if example is not None:
        yield f"one judge prompt{f', by the template {estimate.judge_config.template}' if estimate.judges else ''}:"
        for message in example:
            yield f"[{message.role}]"
            yield message.text
    yield "nothing was written"


def _describe_judge(name: str, judge: JudgeEstimate) -> str:
    requests = f" of up to {judge.requests_per_question} requests each" if judge.requests_per_question > 1 else ""
    return (
        f"{name}: at most {judge.num_questions} questions{requests}, {judge.prompt_tokens} prompt tokens "
        f"({judge.mean_prompt_tokens:.1f} each, {'estimated' if judge.is_estimated else 'measured'} on "
        f"{judge.measured_questions}), at most {judge.reply_tokens_at_most} new ones"
    )
