"""The responses that a step learns from, drawn when it begins or prefetched while the step before it was updating.

`Rollouts` holds what is drawn or being drawn, hands it out for a checkpoint and takes it from there, so that a resumed
training learns from the same responses. Updates no weight and writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.batching import TokenSequence, prompts_of_step
from rlaif.policy.ppo.engines import RolloutEngine
from rlaif.policy.ppo.mismatch import check_gap, measure_gap
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.trajectories import EncodedPrompt, Trajectory, plan_responses, score_trajectories
from rlaif.policy.rewards.episodes import Scored, ScoreScale, WeightedReward
from rlaif.training.team import ALONE, Team

NUM_PROBED = 4
PROBE_LENGTH = 16
"""Responses, and tokens of each, that are compared after weights were handed over, where the step's own come later."""


class Drawn(NamedTuple):
    """A step's responses."""

    trajectories: list[Trajectory]
    gap: float | None
    """Gap between the log-probabilities of the engine and of the policy with the same weights; None where the step's
    batch shows it."""


class Rollout(NamedTuple):
    """A step's responses that have a score, and their scores."""

    trajectories: list[Trajectory]
    scored: Scored
    gap: float | None
    """Responses with their log-probabilities, as in `Drawn`."""


def score_drawn(
    drawn: Drawn, rewards: Sequence[WeightedReward], *, scales: Mapping[str, ScoreScale], config: PpoConfig, step: int
) -> Rollout:
    """Ask the reward sources about a step's responses, and keep those that all of them scored."""
    scored = score_trajectories(
        rewards, drawn.trajectories, scales=scales, max_failed=config.max_failed_rewards, where=f"PPO step {step}"
    )
    return Rollout([drawn.trajectories[index] for index in scored.kept], scored, drawn.gap)


class Rollouts:
    """The engine, and the rollouts it is drawing or has drawn. `close` when training is over, however it ends."""

    def __init__(
        self,
        engine: RolloutEngine,
        prompts: Sequence[EncodedPrompt],
        *,
        config: PpoConfig,
        seed: int,
        pad_id: int,
        team: Team = ALONE,
    ) -> None:
        self._engine, self._prompts = engine, prompts
        self._config, self._seed, self._pad_id, self._team = config, seed, pad_id, team
        self._prefetched: _Prefetched | None = None
        """The rollout of the next step."""
        self._current: _Prefetched | None = None
        """The prefetched rollout of the current step. Until the update, a checkpoint may still have to store it."""

    def of_step(self, step: int, learner: PolicyWithValue) -> Drawn:
        """The step's responses. One-step off-policy, those of the next step are then begun with today's weights.

        (Noukhovitch et al. 2024, arXiv:2410.18252.) Each process of the team draws some, and all get all of them.
        """
        self._current, self._prefetched = self._wait_for(step), None
        if self._current is None:
            self._engine.sync(learner, version=step)
            drawn = Drawn(self._team.gather(self._draw(step)), None)
        else:
            drawn = self._gathered(self._current)
        if self._config.rollout.one_step_off and step + 1 < self._config.num_steps:
            self._prefetched = self._prefetch(step + 1, learner, version=step)
        return drawn

    def stored(self, *, step: int) -> str | None:
        """What a checkpoint must hold of the responses to the step that comes next: those drawn by earlier weights."""
        for prefetched in (self._current, self._prefetched):
            if prefetched is not None and prefetched.step == step:
                return _Stored.of(step, self._gathered(prefetched)).model_dump_json()
        return None

    def take_up(self, stored: str | None) -> None:
        """Continue from what a checkpoint holds, in the place of what is being drawn."""
        self._wait_for(-1)
        self._current = self._prefetched = None
        if stored is not None:
            read = _Stored.model_validate_json(stored)
            self._prefetched = _Prefetched(read.step, drawn=read.drawn(self._prompts), is_gathered=True)

    def close(self) -> None:
        self._current = self._prefetched = None
        self._engine.close()

    def _wait_for(self, step: int) -> _Prefetched | None:
        """The prefetched rollout, if it is this step's. An engine draws one rollout at a time, so any is waited for."""
        if self._prefetched is not None:
            self._prefetched.result()
        return self._prefetched if self._prefetched is not None and self._prefetched.step == step else None

    def _gathered(self, prefetched: _Prefetched) -> Drawn:
        """What the whole team drew. All processes call this outside the drawing threads, whose order is not fixed."""
        drawn = prefetched.result()
        if prefetched.is_gathered:
            return drawn
        return prefetched.replace(drawn._replace(trajectories=self._team.gather(drawn.trajectories)))

    def _prefetch(self, step: int, learner: PolicyWithValue, *, version: int) -> _Prefetched:
        self._engine.sync(learner, version=version)
        if not self._engine.is_elsewhere:  # the policy itself draws them, before its update begins
            return _Prefetched(step, drawn=Drawn([_without_numbers(each) for each in self._draw(step)], 0.0))
        # By the time these come the weights are others: a few responses more are compared before.
        probe = self._engine.sample(
            plan_responses(self._prompts[:NUM_PROBED], num_samples=1, key=(self._seed, step, -1)),
            response_length=min(PROBE_LENGTH, self._config.response_length),
        )
        gap = measure_gap(learner, probe, config=self._config, pad_id=self._pad_id)
        check_gap(gap, config=self._config, version=version)
        return _Prefetched(step, draw=lambda: Drawn(self._draw(step), gap))

    def _draw(self, step: int) -> list[Trajectory]:
        """This process's share."""
        config = self._config
        chosen = prompts_of_step(
            len(self._prompts), seed=self._seed, step=step, num_prompts_per_step=config.num_prompts_per_step
        )
        wanted = plan_responses(
            [self._prompts[index] for index in chosen],
            num_samples=config.num_samples_per_prompt,
            key=(self._seed, step),
        )
        return self._engine.sample(self._team.share(wanted), response_length=config.response_length)


class _Prefetched:
    """A later step's responses: there already, or being drawn in a thread."""

    def __init__(
        self,
        step: int,
        *,
        drawn: Drawn | None = None,
        draw: Callable[[], Drawn] | None = None,
        is_gathered: bool = False,
    ) -> None:
        """is_gathered: the responses are the whole team's and not this process's share."""
        self.step, self.is_gathered = step, is_gathered
        self._drawn = drawn
        self._failure: BaseException | None = None
        self._thread: Thread | None = None
        if draw is not None:
            self._thread = Thread(target=self._run, args=(draw,), daemon=True)
            self._thread.start()

    def result(self) -> Drawn:
        """The responses, once they are there; or the error that kept them from coming."""
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        if self._drawn is None:
            raise RuntimeError("nothing was to be drawn")
        return self._drawn

    def replace(self, drawn: Drawn) -> Drawn:
        """Put the whole team's responses in the place of this process's share."""
        self._drawn, self.is_gathered = drawn, True
        return drawn

    def _run(self, draw: Callable[[], Drawn]) -> None:
        try:
            self._drawn = draw()
        except BaseException as failure:  # noqa: BLE001 - raised where it is waited for
            self._failure = failure


def _without_numbers(trajectory: Trajectory) -> Trajectory:
    """The same response without its values and log-probabilities: the weights will be others when it is learnt from."""
    return trajectory._replace(numbers=None)


class _StoredTrajectory(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_id: str
    response_ids: list[int]
    finished: bool
    response: str
    version: int
    engine_logprobs: list[float] | None


class _Stored(BaseModel):
    """A prefetched rollout as a checkpoint's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    gap: float | None
    trajectories: list[_StoredTrajectory]

    @classmethod
    def of(cls, step: int, drawn: Drawn) -> _Stored:
        rows = [
            _StoredTrajectory(
                prompt_id=t.prompt.id,
                response_ids=t.tokens.response_ids,
                finished=t.finished,
                response=t.response,
                version=t.version,
                engine_logprobs=t.engine_logprobs,
            )
            for t in drawn.trajectories
        ]
        return cls(step=step, gap=drawn.gap, trajectories=rows)

    def drawn(self, prompts: Sequence[EncodedPrompt]) -> Drawn:
        by_id = {prompt.prompt.id: prompt for prompt in prompts}
        trajectories = [
            Trajectory(
                prompt=by_id[row.prompt_id].prompt,
                tokens=TokenSequence(by_id[row.prompt_id].token_ids, row.response_ids),
                finished=row.finished,
                response=row.response,
                numbers=None,
                version=row.version,
                engine_logprobs=row.engine_logprobs,
            )
            for row in self.trajectories
        ]
        return Drawn(trajectories, self.gap)
