"""The prompts of PPO's evaluations, and the judge's check in them: how often it prefers the policy to its start.

Trains nothing and decides nothing: which number gives an alarm is for guards.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.console import say
from rlaif.evaluation.policy import compute_win_rate, find_different, pair_samples
from rlaif.judging.asking import Asking
from rlaif.judging.judge import judge_pairs
from rlaif.models.interface import TokenScorer
from rlaif.policy.ppo.checks import Answer
from rlaif.policy.rewards.judge import ask_at_once
from rlaif.records import Model, Prompt, Record, Sample, SamplingParams, Tally, digest_text
from rlaif.sampling.sampler import sorted_pair

MAX_SHARE = 0.2
"""Share of PPO's prompts that may be held out for its evaluations, at most."""


class HeldOut(NamedTuple):
    """The prompts of a policy's training, divided."""

    trained: list[Prompt]
    """Prompts that PPO trains on."""
    checked: list[Prompt]
    """Prompts of PPO's evaluations; none where nothing is evaluated."""
    tally: Tally


def hold_out(
    prompts: Sequence[Prompt],
    tally: Tally,
    *,
    guards: GuardsConfig,
    seed: int,
    draw_own: Callable[[int], list[Prompt]] | None = None,
) -> HeldOut:
    """Prompts that PPO neither trains on nor shares with the final evaluation: that one must choose nothing.

    prompts, tally: those that training could take, and what was dropped before. draw_own: draws so many further
    prompts, for a world that has enough of them.
    """
    if guards.evaluate_every is None:
        return HeldOut(list(prompts), [], tally)
    if draw_own is not None:
        return HeldOut(list(prompts), draw_own(guards.num_prompts), tally)
    num = min(guards.num_prompts, int(MAX_SHARE * len(prompts)))
    if num < 2:
        say(f"policy: {len(prompts)} prompts are too few to hold some out, so nothing is evaluated during training")
        return HeldOut(list(prompts), [], tally)
    drawn = sorted(prompts, key=lambda prompt: digest_text(f"checks\n{seed}\n{prompt.id}"))
    checked = {prompt.id for prompt in drawn[:num]}
    return HeldOut(
        [prompt for prompt in prompts if prompt.id not in checked],
        [prompt for prompt in prompts if prompt.id in checked],
        Tally(num_in=tally.num_in, dropped={**tally.dropped, "held_out": num}),
    )


@dataclass(frozen=True)
class JudgeCheck:
    """The judge's win rate of the policy in training over its start, each pair asked as in the final evaluation."""

    asking: Asking
    """With `drops_refused`: a check whose questions were refused does without them."""
    open_judge: Callable[[], TokenScorer]
    """Gives the evaluation's judge, opened when it is first asked."""
    prompts: Sequence[Prompt]
    config: PpoConfig
    seed: int
    round: int
    folder: Path
    """The stage's folder, for the plans of questions."""
    use: Callable[[Sequence[Record]], None]
    """Notes that the stage used records."""

    def __call__(self, step: int, start: Sequence[Answer], now: Sequence[Answer]) -> dict[str, float]:
        """The win rate with its interval, after `step` steps; no `win_rate` where every comparison failed."""
        pairs = pair_samples(self._as_samples(0, start), self._as_samples(step, now))
        different = find_different(pairs)
        comparisons = []
        if different:
            asked = [sorted_pair(*pair) for pair in different]
            # Training may have gone back and come to this step again with other responses: each has its own plan.
            name = digest_text("\n".join(sample.id for pair in asked for sample in pair))[:8]
            judging = judge_pairs(
                asked,
                prompts={prompt.id: prompt for prompt in self.prompts},
                asking=self.asking,
                scorer=ask_at_once(self.open_judge()),
                plan_path=self.folder / f"step_{step:06d}_{name}_questions_plan.json",
                label=f"judge's check, step {step}",
            )
            comparisons = judging.comparisons
            self.use([*judging.questions, *judging.judgements, *judging.failed, *comparisons])
        win_rate = compute_win_rate(
            comparisons, pairs=pairs, constitution=self.asking.constitution, draw_seed=self.asking.draw_seed
        )
        numbers = {"win_rate_failed": float(win_rate.num_failed)}
        if win_rate.soft is None:
            return numbers
        soft = win_rate.soft
        return {**numbers, "win_rate": soft.mean, "win_rate_low": soft.low, "win_rate_high": soft.high}

    def _as_samples(self, step: int, answers: Sequence[Answer]) -> list[Sample]:
        """Answers of the policy in training as records, stored with the stage's others."""
        made = digest_text("\n".join(f"{answer.prompt_id} {digest_text(answer.text)}" for answer in answers))
        weights = f"in training, after {step} PPO steps, known by its responses: {made}"
        policy = Model(engine="transformers", weights=weights)
        params = SamplingParams(temperature=self.config.temperature, max_new_tokens=self.config.response_length)
        samples = [
            Sample(
                prompt_id=answer.prompt_id, policy_id=policy.id, params=params, seed=self.seed, round=self.round,
                finish_reason="stop" if answer.finished else "length", token_count=answer.num_tokens, text=answer.text,
            )
            for answer in answers
        ]  # fmt: skip
        self.asking.ledger.append([policy])
        self.use(samples)
        return samples
