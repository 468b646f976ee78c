"""The judges of a run and the one of its evaluation: opened when first lent, and what they may cost together.

Lends one judge at a time, so that no two models of a panel are in memory. Asks nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from rlaif.config.judge import JudgeModelConfig
from rlaif.config.run import RunConfig
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.panel import RunJudge, check_mode, find_run_judges
from rlaif.judging.setup import check_judge, expect_served_models, find_spent
from rlaif.ledger.store import Ledger
from rlaif.models.budget import Budget, make_budget
from rlaif.models.interface import TokenScorer
from rlaif.models.open import ENGINES, open_judge
from rlaif.models.slot import Slot
from rlaif.models.weights.loading import free_memory
from rlaif.records import Constitution


class Bench:
    """The judges of a run, for all its stages and rounds."""

    def __init__(
        self,
        config: RunConfig,
        *,
        ledger: Ledger,
        find_stage_dirs: Callable[[], Sequence[Path]],
        slot: Slot | None = None,
    ) -> None:
        """find_stage_dirs: the folders of the run's stages so far, which list what its judges were asked."""
        self._config, self._ledger, self._find_stage_dirs, self._slot = config, ledger, find_stage_dirs, slot
        self.judges = find_run_judges(config.judge)
        """Who labels the pairs, `judge.model` first."""
        self.evaluator = RunJudge(0, config.evaluation.judge.instead_of(config.judge))
        """Who finds the win rate: the run's first judge, unless the configuration names another."""
        self._opened: list[tuple[JudgeModelConfig, TokenScorer]] = []
        self._lent: list[TokenScorer] = []

    @property
    def name(self) -> str:
        """The names of the judges that label the pairs, for a data set's card."""
        return " + ".join(judge.name for judge in self.judges)

    @property
    def template(self) -> JudgeTemplate:
        """The first judge's template: it decides which pairs are drawn."""
        return self.judges[0].template

    @cached_property
    def budget(self) -> Budget:
        """What the run's judges have cost in all stages and rounds, and may still cost."""
        return make_budget(self._config.judge, spent=find_spent(self._ledger, self._find_stage_dirs()))

    def check(self, constitution: Constitution) -> None:
        """Before anything is spent: each judge can give its template's verdicts and knows the principles' words."""
        checked = []
        for judge in (*self.judges, self.evaluator):
            if judge.config not in checked:
                check_judge(judge.config, constitution=constitution, template=judge.template)
                check_mode(self._config, template=judge.template)
                checked.append(judge.config)

    @contextmanager
    def lend(self, judge: RunJudge) -> Iterator[TokenScorer]:
        """The judge, opened. Of a panel no other judge is in memory meanwhile, nor this one afterwards.

        The judge of a run that has one stays open until `clear`; a process of its own ends with the block.
        """
        is_panel = judge.number > 0 and len(self.judges) > 1
        if is_panel:
            self.clear()
        scorer = self._open(judge)
        self._lent.append(scorer)
        try:
            yield scorer
        finally:
            self._lent.remove(scorer)
            if is_panel:
                self.clear()
            if scorer not in self._lent:
                scorer.close()

    def open_again(self, judge: RunJudge) -> TokenScorer:
        """The judge in an engine that the bench does not keep."""
        scorer = open_judge(judge.config, budget=self.budget, scale=self._config.scale, slot=self._slot)
        expect_served_models(scorer, ledger=self._ledger, stage_dirs=self._find_stage_dirs())
        return scorer

    def clear(self) -> None:
        """No judge's weights stay loaded here but those of a judge that is lent."""
        self._opened = [(model, one) for model, one in self._opened if one in self._lent or not _holds_weights(model)]
        free_memory()

    def _open(self, judge: RunJudge) -> TokenScorer:
        """One engine for each model: the evaluation's judge is the run's own where the two are one model."""
        for model, scorer in self._opened:
            if model == judge.config.model:
                return scorer
        scorer = self.open_again(judge)
        self._opened.append((judge.config.model, scorer))
        return scorer


def _holds_weights(model: JudgeModelConfig) -> bool:
    """Whether the opened judge has its weights in this process."""
    engine = ENGINES[model.engine]
    return engine.is_local and not engine.wants_memory
