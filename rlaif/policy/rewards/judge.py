"""The run's judge as a source of rewards (d-RLAIF, Lee et al. 2023, arXiv:2309.00267, section 2.2).

Each response is scored by itself: the expectation over the judge's scores, brought to -1..1, the weighted mean over
the principles. The ledger keeps every answer, so that what was asked once costs nothing again. Trains nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from rlaif.constitution.selection import principles_of
from rlaif.files.batch_plan import read_plan
from rlaif.judging.asking import Asking
from rlaif.judging.judge import Judging, judge_pairs
from rlaif.judging.modes import MODES
from rlaif.judging.question_log import LOG_NAME, QuestionLog
from rlaif.judging.questions import score_request
from rlaif.models.endpoint.batch import BatchingScorer
from rlaif.models.interface import TokenScorer
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.records import FailedJudgement, Judgement, Model, ModelObserved, Record, Sample, digest_text

FOLDER = "judge_reward"
"""Folder in the stage that lists the questions PPO asked the judge. Its name starts with `judge_`, so that the run's
account of its judges counts it."""


class JudgeReward:
    """Implements `RewardSource`: the run's first judge, within the caps on what its judges may cost."""

    def __init__(
        self,
        asking: Asking,
        *,
        open_judge: Callable[[], TokenScorer],
        folder: Path,
        start: Model,
        use: Callable[[Sequence[Record]], None],
    ) -> None:
        """asking: with a template that scores, and `drops_refused`, as PPO limits failures itself.

        open_judge: called when the first response is to be scored. folder: the stage's. start: the policy that the run
        started from. use: notes that the stage used records.
        """
        self._asking, self._open_judge, self._use = asking, open_judge, use
        self._folder = folder / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._policy = Model(
            engine="recorded",
            weights=f"in training from {start.id}",
            observed=ModelObserved(name="the policy in training"),
        )
        asking.ledger.append([self._policy])

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        """From -1, the lowest score of all principles, to 1; where the judge fails under one of them, its failure."""
        samples = [self._as_sample(episode) for episode in episodes]
        different = list({sample.id: sample for sample in samples}.values())
        prompts = {episode.prompt.id: episode.prompt for episode in episodes}
        self._asking.ledger.append([*prompts.values(), *different])
        plan_path = self._folder / f"{digest_text(' '.join(s.id for s in different))[:16]}_questions_plan.json"
        judging = judge_pairs(
            [(sample, sample) for sample in different],  # by itself: a question for each principle
            prompts=prompts,
            asking=self._asking,
            scorer=self._scorer,
            plan_path=plan_path,
            label="",
        )
        self._use([*judging.questions, *judging.judgements, *judging.failed])
        self._put_away(plan_path)
        scores = self._score(different, judging)
        return [scores[sample.id] for sample in samples]

    @cached_property
    def _scorer(self) -> TokenScorer:
        """The judge, opened when it is first asked."""
        return ask_at_once(self._open_judge())

    def _as_sample(self, episode: Episode) -> Sample:
        """The same text to the same prompt is the same sample in every step, so that it is asked about once.

        Only a judge that reads likelihoods sees whether the policy ended its response.
        """
        is_cut = not episode.is_whole and score_request(self._asking.template).reads == "likelihood"
        return Sample(
            prompt_id=episode.prompt.id,
            policy_id=self._policy.id,
            finish_reason="length" if is_cut else "recorded",
            text=episode.response,
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
        asked = principles_of(self._asking.constitution, [sample.id, sample.id], draw_seed=self._asking.draw_seed)
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
        worth = MODES[self._asking.template.kind].worth
        assert worth is not None  # load_score_template refuses a mode without it
        return worth(found, weights=[principle.weight for principle in asked], template=self._asking.template)

    def _put_away(self, plan_path: Path) -> None:
        """What was planned was asked: its ids go to the list, for the account, and the plan goes.

        A training of a thousand steps would else leave a thousand plans.
        """
        if plan_path.is_file():
            with QuestionLog(self._folder / LOG_NAME) as log:
                for batch in read_plan(plan_path):
                    for question_id in batch:
                        log.write(question_id)
            plan_path.unlink()


def ask_at_once(judge: TokenScorer) -> TokenScorer:
    """The judge without its batch endpoint, which answers within a day: training waits for its rewards."""
    return judge.live() if isinstance(judge, BatchingScorer) else judge
