"""What PPO's evaluations ask of judge, held-out reward model and measures, made of a round's parts.

Trains nothing and decides nothing: which number gives an alarm is the trainer's business.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NamedTuple

from rlaif.config.models import FRONTDESK
from rlaif.console import say
from rlaif.evaluation.measures import compute_means, load_measure
from rlaif.evaluation.policy import compute_win_rate, find_different, pair_samples
from rlaif.frontdesk.world import make_prompts
from rlaif.judging.judge import Asking, judge_pairs
from rlaif.models.interface import BatchingScorer, TokenScorer
from rlaif.models.weights.loading import load_reward_model
from rlaif.policy.ppo.checks import Answer, Checks
from rlaif.policy.rewards.sources import reward_by_model
from rlaif.records import Model, Prompt, Sample, SamplingParams, Tally, digest_text
from rlaif.run.input_checks import expect_evaluation_judge, expect_held_out_model, expect_measures
from rlaif.run.work import Work
from rlaif.sampling.sampler import sorted_pair

STAGE = "6_policy"
MAX_SHARE = 0.2
"""Of PPO's prompts that may be held out for its evaluations."""


class HeldOut(NamedTuple):
    trained: list[Prompt]
    """Prompts that PPO trains on."""
    checked: list[Prompt]
    """Those of its evaluations; none where nothing is evaluated."""
    tally: Tally


def hold_out(work: Work, prompts: Sequence[Prompt], tally: Tally) -> HeldOut:
    """Prompts that PPO neither trains on nor shares with the final evaluation: that one must choose nothing.

    prompts, tally: those that training could take, and what was dropped before.
    """
    guards = work.config.ppo.guards
    if guards.evaluate_every is None:
        return HeldOut(list(prompts), [], tally)
    if work.config.prompts.path == FRONTDESK:
        first = work.config.evaluation.num_prompts
        chats = make_prompts(seed=work.config.seed, n=first + guards.num_prompts, held_out=True)[first:]
        return HeldOut(list(prompts), [Prompt.from_chat(chat, source=FRONTDESK) for chat in chats], tally)
    num = min(guards.num_prompts, int(MAX_SHARE * len(prompts)))
    if num < 2:
        say(f"policy: {len(prompts)} prompts are too few to hold some out, so nothing is evaluated during training")
        return HeldOut(list(prompts), [], tally)
    drawn = sorted(prompts, key=lambda prompt: digest_text(f"checks\n{work.config.seed}\n{prompt.id}"))
    checked = {prompt.id for prompt in drawn[:num]}
    return HeldOut(
        [prompt for prompt in prompts if prompt.id not in checked],
        [prompt for prompt in prompts if prompt.id in checked],
        Tally(num_in=tally.num_in, dropped={**tally.dropped, "held_out": num}),
    )


def make_checks(work: Work, prompts: Sequence[Prompt]) -> Checks:
    """`prompts`: those that are held out for it."""
    if not prompts:
        return Checks()
    guards = work.config.ppo.guards
    work.keep(list(prompts))
    held_out = judge = None
    if guards.held_out_model is not None:
        say(f"loading the held-out reward model: {guards.held_out_model}")
        loaded = load_reward_model(guards.held_out_model, dtype="float32", device=work.config.policy.device)
        held_out = reward_by_model(loaded)
        work.keep([loaded.fingerprint])
        expect_held_out_model(work, STAGE, loaded.fingerprint, path=guards.held_out_model)
    if guards.judge_every is not None:
        work.check_judge()
        judge = partial(_ask_judge, work, {prompt.id: prompt for prompt in prompts})
    measures = {spec: load_measure(spec) for spec in work.measures}
    expect_measures(work, STAGE)
    return Checks(prompts, held_out, judge, partial(compute_means, measures=measures))


def _ask_judge(
    work: Work, prompts: Mapping[str, Prompt], step: int, start: Sequence[Answer], now: Sequence[Answer]
) -> dict[str, float]:
    """The judge's win rate of the policy in training over its start, each pair asked as in the final evaluation.

    Where every comparison failed there is no `win_rate`.
    """
    sides = [_as_samples(work, 0, start), _as_samples(work, step, now)]
    pairs = pair_samples(*sides)
    different = find_different(pairs)
    judging = None
    if different:
        asked = [sorted_pair(*pair) for pair in different]
        # Training may have gone back and come to this step again with other responses: a plan of its own for each.
        name = digest_text("\n".join(sample.id for pair in asked for sample in pair))[:8]
        expect_evaluation_judge(work, STAGE)
        judging = judge_pairs(
            asked, prompts=prompts, scorer=_at_once(work.evaluation_judge),
            asking=Asking(
                constitution=work.constitution, template=work.evaluation_template, config=work.evaluation_judge_config,
                ledger=work.ledger, budget=work.judge_budget, draw_seed=work.draw_seed, drops_refused=True,
            ),
            plan_path=work.folder(STAGE) / f"step_{step:06d}_{name}_questions_plan.json",
            label=f"judge's check, step {step}",
        )  # fmt: skip
        work.use(STAGE, [*judging.questions, *judging.judgements, *judging.failed, *judging.comparisons])
    win_rate = compute_win_rate(
        [] if judging is None else judging.comparisons,
        pairs=pairs, constitution=work.constitution, draw_seed=work.draw_seed,
    )  # fmt: skip
    numbers = {"win_rate_failed": float(win_rate.num_failed)}
    if win_rate.soft is None:
        return numbers
    soft = win_rate.soft
    return {**numbers, "win_rate": soft.mean, "win_rate_low": soft.low, "win_rate_high": soft.high}


def _at_once(judge: TokenScorer) -> TokenScorer:
    """Training waits for the answers, so a server's batch endpoint, which takes hours, is not used."""
    return judge.live() if isinstance(judge, BatchingScorer) else judge


def _as_samples(work: Work, step: int, answers: Sequence[Answer]) -> list[Sample]:
    """Answers of the policy in training as records, kept with the rest."""
    config = work.config.ppo
    made = digest_text("\n".join(f"{answer.prompt_id} {digest_text(answer.text)}" for answer in answers))
    weights = f"in training, after {step} PPO steps, known by its responses: {made}"
    policy = Model(engine="transformers", weights=weights)
    params = SamplingParams(temperature=config.temperature, max_new_tokens=config.response_length)
    samples = [
        Sample(
            prompt_id=answer.prompt_id, policy_id=policy.id, params=params, seed=work.seed, round=work.round,
            finish_reason="stop" if answer.finished else "length", token_count=answer.num_tokens, text=answer.text,
        )
        for answer in answers
    ]  # fmt: skip
    work.keep([policy])
    work.use(STAGE, samples)
    return samples


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """Inside the block SIGTERM, which preempted machines send, sets the event and interrupts nothing."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(signum: int, frame: FrameType | None) -> None:
        asked.set()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
