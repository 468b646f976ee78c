"""Which responses a step learns from: drawn when it begins, or while the step before it was updating.

Keeps what is under way, hands it out for a checkpoint and takes it up from there, so that a resumed training learns
from the same responses. Scores nothing, updates nothing, writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rlaif.config.ppo import PpoConfig
from rlaif.policy.ppo.batching import TokenSequence, prompts_of_step
from rlaif.policy.ppo.engines import RolloutEngine
from rlaif.policy.ppo.mismatch import check_gap, measure_gap
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.rollout import EncodedPrompt, Trajectory, ask_for
from rlaif.training.team import ALONE, Team

NUM_PROBED = 4
PROBE_LENGTH = 16
"""Responses, and tokens of each, that are compared after weights were handed over, where the step's own come later."""


class Drawn(NamedTuple):
    """A step's responses."""

    trajectories: list[Trajectory]
    gap: float | None
    """Of the engine's log-probabilities to those of the policy with the same weights; None: their own tell it."""


class Rollouts:
    """The engine, and the rollouts that are under way. `close` when training is over, however it ends."""

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
        self._ahead: _Ahead | None = None
        self._taken: _Ahead | None = None
        """What was ahead for the step that is under way: until its update it could be asked for again."""

    def of_step(self, step: int, learner: PolicyWithValue) -> Drawn:
        """The step's responses. One-step off-policy, those of the next step are then begun with today's weights.

        (Noukhovitch et al. 2024, arXiv:2410.18252.) Each of the team draws some, and all get all of them.
        """
        self._taken, self._ahead = self._settled(step), None
        if self._taken is None:
            self._engine.sync(learner, version=step)
            drawn = Drawn(self._team.gather(self._draw(step)), None)
        else:
            drawn = self._of_all(self._taken)
        if self._config.rollout.one_step_off and step + 1 < self._config.num_steps:
            self._ahead = self._begin(step + 1, learner, version=step)
        return drawn

    def stored(self, *, step: int) -> str | None:
        """Of the responses to the step that comes next what a checkpoint must hold: those drawn by earlier weights."""
        for ahead in (self._taken, self._ahead):
            if ahead is not None and ahead.step == step:
                return _Stored.of(step, self._of_all(ahead)).model_dump_json()
        return None

    def take_up(self, stored: str | None) -> None:
        """Go on from what a checkpoint holds, in the place of what is under way."""
        self._settled(-1)
        self._taken = self._ahead = None
        if stored is not None:
            read = _Stored.model_validate_json(stored)
            self._ahead = _Ahead(read.step, drawn=read.drawn(self._prompts), is_of_all=True)

    def close(self) -> None:
        self._taken = self._ahead = None
        self._engine.close()

    def _settled(self, step: int) -> _Ahead | None:
        """What is under way, if it is for this step. One engine draws one rollout at a time, so it is waited for."""
        if self._ahead is not None:
            self._ahead.result()
        return self._ahead if self._ahead is not None and self._ahead.step == step else None

    def _of_all(self, ahead: _Ahead) -> Drawn:
        """What the whole team drew. Asked for by all of it, and not where it is drawn: those threads keep no order."""
        drawn = ahead.result()
        return drawn if ahead.is_of_all else ahead.replace(drawn._replace(trajectories=self._team.gather(drawn[0])))

    def _begin(self, step: int, learner: PolicyWithValue, *, version: int) -> _Ahead:
        self._engine.sync(learner, version=version)
        if not self._engine.is_elsewhere:  # the policy itself draws them, before its update begins
            return _Ahead(step, drawn=Drawn([_by_old_weights(each) for each in self._draw(step)], 0.0))
        # By the time these come the weights are others: a few responses more are compared before.
        probe = self._engine.sample(
            ask_for(self._prompts[:NUM_PROBED], num_samples=1, key=(self._seed, step, -1)),
            response_length=min(PROBE_LENGTH, self._config.response_length),
        )
        gap = measure_gap(learner, probe, config=self._config, pad_id=self._pad_id)
        check_gap(gap, config=self._config, version=version)
        return _Ahead(step, draw=lambda: Drawn(self._draw(step), gap))

    def _draw(self, step: int) -> list[Trajectory]:
        """This process's share."""
        config = self._config
        chosen = prompts_of_step(
            len(self._prompts), seed=self._seed, step=step, num_prompts_per_step=config.num_prompts_per_step
        )
        asked = ask_for(
            [self._prompts[index] for index in chosen],
            num_samples=config.num_samples_per_prompt,
            key=(self._seed, step),
        )
        return self._engine.sample(self._team.share(asked), response_length=config.response_length)


class _Ahead:
    """A later step's responses: there already, or drawn in a thread of its own."""

    def __init__(
        self,
        step: int,
        *,
        drawn: Drawn | None = None,
        draw: Callable[[], Drawn] | None = None,
        is_of_all: bool = False,
    ) -> None:
        """is_of_all: they are the whole team's and not this process's alone."""
        self.step, self.is_of_all = step, is_of_all
        self._drawn = drawn
        self._failure: BaseException | None = None
        self._thread: Thread | None = None
        if draw is not None:
            self._thread = Thread(target=self._run, args=(draw,), daemon=True)
            self._thread.start()

    def result(self) -> Drawn:
        """The responses, once they are there; or what kept them from coming."""
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        if self._drawn is None:
            raise RuntimeError("nothing was to be drawn")
        return self._drawn

    def replace(self, drawn: Drawn) -> Drawn:
        """The whole team's in the place of this process's own."""
        self._drawn, self.is_of_all = drawn, True
        return drawn

    def _run(self, draw: Callable[[], Drawn]) -> None:
        try:
            self._drawn = draw()
        except BaseException as failure:  # noqa: BLE001 - raised where it is waited for
            self._failure = failure


def _by_old_weights(trajectory: Trajectory) -> Trajectory:
    """What its pass said of values and log-probabilities is no longer so when it is trained on."""
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
    """What is under way, as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    gap: float | None
    trajectories: list[_StoredTrajectory]

    @classmethod
    def of(cls, step: int, drawn: Drawn) -> _Stored:
        rows = [
            _StoredTrajectory(
                prompt_id=t.prompt.id, response_ids=t.tokens.response_ids, finished=t.finished, response=t.response,
                version=t.version, engine_logprobs=t.engine_logprobs,
            )
            for t in drawn.trajectories
        ]  # fmt: skip
        return cls(step=step, gap=drawn.gap, trajectories=rows)

    def drawn(self, prompts: Sequence[EncodedPrompt]) -> Drawn:
        by_id = {prompt.prompt.id: prompt for prompt in prompts}
        trajectories = [
            Trajectory(
                by_id[row.prompt_id].prompt,
                TokenSequence(by_id[row.prompt_id].token_ids, row.response_ids),
                row.finished,
                row.response,
                None,
                row.version,
                row.engine_logprobs,
            )
            for row in self.trajectories
        ]
        return Drawn(trajectories, self.gap)
