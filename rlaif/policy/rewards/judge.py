"""The run's judge as a source of rewards (d-RLAIF, Lee et al. 2023, arXiv:2309.00267, section 2.2).

Each response is scored by itself: the expectation over the judge's scores, brought to -1..1, the weighted mean over
the principles. The ledger keeps every answer, so that what was asked once costs nothing again. Trains nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rlaif.constitution.asked import principles_of
from rlaif.constitution.render import JudgeTemplate
from rlaif.judging.judge import Asking, Judging, judge_pairs
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import LOG_NAME, QuestionLog
from rlaif.models.endpoint.engine import OpenAIEngine
from rlaif.models.interface import TokenScorer
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.records import FailedJudgement, Judgement, Model, ModelObserved, Sample, digest_text
from rlaif.run.input_checks import expect_judge

if TYPE_CHECKING:
    from rlaif.run.work import Work

STAGE = "6_policy"
FOLDER = "judge_reward"
"""Of the stage: where it stands what was asked. Its name makes the run's account of its judges find it."""


class JudgeReward:
    """Implements `RewardSource`: the run's first judge, within the caps on what its judges may cost."""

    def __init__(self, work: Work, *, template: JudgeTemplate) -> None:
        self._work, self._template = work, template
        self._folder = work.folder(STAGE) / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._policy = Model(
            engine="recorded",
            weights=f"in training from {work.start_policy.fingerprint.id}",
            observed=ModelObserved(name="the policy in training"),
        )
        work.keep([self._policy])

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        """From -1, the lowest score of all principles, to 1; where the judge fails under one of them, its failure."""
        samples = [self._as_sample(episode) for episode in episodes]
        different = list({sample.id: sample for sample in samples}.values())
        work, judge = self._work, self._work.judges[0]
        self._work.keep([*{episode.prompt.id: episode.prompt for episode in episodes}.values(), *different])
        plan_path = self._folder / f"{digest_text(' '.join(s.id for s in different))[:16]}_questions_plan.json"
        judging = judge_pairs(
            [(sample, sample) for sample in different],  # by itself: a question for each principle
            prompts={episode.prompt.id: episode.prompt for episode in episodes},
            asking=Asking(
                constitution=work.constitution, template=self._template, config=judge.config, ledger=work.ledger,
                budget=work.judge_budget, draw_seed=work.draw_seed, drops_refused=True,
            ),
            scorer=self._scorer, plan_path=plan_path, label="",
        )  # fmt: skip
        work.use(STAGE, [*judging.questions, *judging.judgements, *judging.failed])
        self._put_away(plan_path)
        scores = self._score(different, judging)
        return [scores[sample.id] for sample in samples]

    @cached_property
    def _scorer(self) -> TokenScorer:
        """The judge, loaded when it is first asked; the one that earlier attempts and stages asked."""
        work = self._work
        expect_judge(work, STAGE, work.judge.fingerprint, work.judges[0].config, self._template, rewards=True)
        return _at_once(work.judge)

    def _as_sample(self, episode: Episode) -> Sample:
        """The same text to the same prompt is the same sample in every step, so that it is asked about once."""
        return Sample(
            prompt_id=episode.prompt.id, policy_id=self._policy.id, finish_reason="recorded", text=episode.response
        )

    def _score(self, samples: Sequence[Sample], judging: Judging) -> dict[str, float | RewardFailure]:
        question_of = {question.id: question for question in judging.questions}
        answers: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
        for judgement in judging.judgements:
            question = question_of[judgement.question_id]
            answers[question.sample_ids[0], question.principles[0].text_digest].append(judgement)
        failed = {question_of[failure.question_id].sample_ids[0]: failure for failure in judging.failed}
        return {sample.id: self._weigh(sample, answers, failed.get(sample.id)) for sample in samples}

    def _weigh(
        self, sample: Sample, answers: dict[tuple[str, str], list[Judgement]], failed: FailedJudgement | None
    ) -> float | RewardFailure:
        """What the response is worth by its answers under each principle that it was asked about."""
        asked = principles_of(self._work.constitution, [sample.id, sample.id], draw_seed=self._work.draw_seed)
        found = []
        for principle in asked:
            given = answers.get((sample.id, principle.digest))
            if given is None:
                return (
                    RewardFailure("unanswered")
                    if failed is None
                    else RewardFailure(failed.cause, failed.raw_reply[-200:])
                )
            found.append(given)
        worth = MODES[self._template.kind].worth
        assert worth is not None  # load_score_template refuses a mode without it
        return worth(found, weights=[principle.weight for principle in asked], template=self._template)

    def _put_away(self, plan_path: Path) -> None:
        """What was planned was asked: its ids go to the list, for the account, and the plan goes.

        A training of a thousand steps would else leave a thousand plans.
        """
        if plan_path.is_file():
            with QuestionLog(self._folder / LOG_NAME) as log:
                for batch in json.loads(plan_path.read_text(encoding="utf-8")):
                    for question_id in batch:
                        log.write(question_id)
            plan_path.unlink()


def _at_once(judge: TokenScorer) -> TokenScorer:
    """Training waits for its rewards: a batch endpoint that answers within a day is of no use."""
    return judge.live() if isinstance(judge, OpenAIEngine) else judge
