"""The models of one round of a run, loaded when they are first needed: policies, reward model, judges.

What is asked often stays loaded; what would be in the way of vLLM or of another judge goes. Knows no stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import cast

from rlaif.config.generate import JudgeConfig, PolicyModelConfig
from rlaif.config.run import RunConfig
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.errors import RunFolderError
from rlaif.judging.panel import RunJudge, find_run_judges
from rlaif.judging.setup import expect_served_models, find_spent
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget, make_budget
from rlaif.models.interface import TextGenerator, TokenScorer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.open import engine_of, load_model, open_generator, open_judge
from rlaif.models.slot import Slot
from rlaif.models.weights.loading import LoadedModel, free_memory, load_reward_model
from rlaif.run.folder import RunFolder, stage_done
from rlaif.training.team import ALONE, Team


class RunModels:
    """Of one round; those that do not change from round to round are handed on by name."""

    team: Team = ALONE
    """The processes that train; this one is the first of them."""

    def __init__(self, config: RunConfig, *, run: RunFolder, ledger: Ledger, round: int = 0) -> None:
        self.config, self.run, self.ledger, self.round = config, run, ledger, round
        self.slot = Slot()

    @property
    def reward_model_dir(self) -> Path:
        return self.run.stage_dir(self.round, "5_reward_model") / "model"

    @property
    def sft_dir(self) -> Path:
        """Of the run's first round: the policy that all rounds start from is made once."""
        return self.run.stage_dir(0, "0_sft") / "model"

    @property
    def policy_dir(self) -> Path:
        return self.run.stage_dir(self.round, "6_policy") / "model"

    @cached_property
    def start_policy(self) -> LoadedModel:
        """What the run began with, after SFT if it did that: KL and evaluation are against it in every round."""
        return load_model(self._start_config, part="policy")

    @property
    def _start_config(self) -> PolicyModelConfig:
        return self._policy_in(self.sft_dir) if stage_done(self.run.stage_dir(0, "0_sft")) else self.config.policy

    @cached_property
    def start_generator(self) -> TextGenerator:
        return self._generator(self._start_config, "start_policy")

    @property
    def _current_config(self) -> PolicyModelConfig:
        before = self.run.stage_dir(self.round - 1, "6_policy")
        if not stage_done(before):
            raise RunFolderError(
                "the round before has trained no policy",
                where=str(before),
                fix="run `rlaif train` for that round first",
            )
        return self._policy_in(before / "model")

    @cached_property
    def current_policy(self) -> LoadedModel:
        """The policy that this round samples from: what the round before trained, at first the starting one."""
        return self.start_policy if self.round == 0 else load_model(self._current_config, part="policy")

    @cached_property
    def generator(self) -> TextGenerator:
        """Draws this round's responses; on a cluster nothing of the policy is loaded here for it."""
        if self.round == 0 and not self.config.scale.is_spread:
            return self.start_generator
        config = self._start_config if self.round == 0 else self._current_config
        return open_generator(config, scale=self.config.scale, slot=self.slot, load=lambda: self.current_policy)

    @cached_property
    def trained_policy(self) -> LoadedModel:
        return load_model(self._policy_in(self.policy_dir), part="policy")

    @cached_property
    def trained_generator(self) -> TextGenerator:
        return self._generator(self._policy_in(self.policy_dir), "trained_policy")

    def _policy_in(self, folder: Path) -> PolicyModelConfig:
        return self.config.policy.model_copy(update={"path": str(folder), "revision": None})

    def _generator(self, config: PolicyModelConfig, name: str) -> TextGenerator:
        """`name`: where the model is kept that training works with; in transformers it samples as well."""
        return open_generator(config, slot=self.slot, load=lambda: cast("LoadedModel", getattr(self, name)))

    def make_room(self) -> None:
        """Where vLLM will want the memory, what is loaded here goes; it is loaded again when it is needed."""
        judges = (*self.config.judge.judges(), self.evaluation_judge_config)
        engines = (engine_of(self.config.policy), *(engine_of(judge.model) for judge in judges))
        if not any(engine.wants_memory for engine in engines):
            return
        for name, value in list(self.__dict__.items()):
            if isinstance(value, LoadedModel | TransformersEngine):
                del self.__dict__[name]
        free_memory()

    @cached_property
    def reward_model(self) -> LoadedModel:
        return load_reward_model(str(self.reward_model_dir), dtype="float32", device=self.config.policy.device)

    @cached_property
    def judge(self) -> TokenScorer:
        """The first judge."""
        return self.load_judge(self.judges[0].config)

    def load_judge(self, config: JudgeConfig) -> TokenScorer:
        """A judge of this run, which goes on as the model that it was."""
        judge = open_judge(config, budget=self.judge_budget, scale=self.config.scale, slot=self.slot)
        expect_served_models(judge, ledger=self.ledger, stage_dirs=self._stage_dirs)
        return judge

    @contextmanager
    def lend_judge(self, judge: RunJudge) -> Iterator[TokenScorer]:
        """One of the judges; of a panel no other one is in memory meanwhile, nor this one afterwards."""
        if len(self.judges) == 1:
            yield self.judge
            self.slot.close()
            return
        self._forget_judges()
        yield self.load_judge(judge.config)
        self._forget_judges()
        self.slot.close()

    def _forget_judges(self) -> None:
        for name in ("judge", "evaluation_judge"):
            self.__dict__.pop(name, None)
        free_memory()

    @cached_property
    def judge_budget(self) -> Budget:
        """What the run's judges have cost in all stages and rounds, and may still cost."""
        return make_budget(self.config.judge, spent=find_spent(self.ledger, self._stage_dirs))

    @property
    def _stage_dirs(self) -> list[Path]:
        return sorted(self.run.path.glob("round_*/*"))

    @cached_property
    def judges(self) -> tuple[RunJudge, ...]:
        """Who labels the pairs, `judge.model` first."""
        return find_run_judges(self.config.judge)

    @property
    def evaluation_judge_config(self) -> JudgeConfig:
        """Who finds the win rate, and how: the run's judge unless the configuration names another."""
        return self.config.evaluation.judge.instead_of(self.config.judge)

    @cached_property
    def evaluation_template(self) -> JudgeTemplate:
        return load_template(self.evaluation_judge_config.template)

    @cached_property
    def evaluation_judge(self) -> TokenScorer:
        other = self.evaluation_judge_config
        return self.judge if other.model == self.config.judge.model else self.load_judge(other)
