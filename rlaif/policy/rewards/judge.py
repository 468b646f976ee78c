"""The run's judge as a source of rewards (d-RLAIF, Lee et al. 2023, arXiv:2309.00267, section 2.2).

Each response is scored by itself: the expectation over the judge's scores, brought to -1..1, the weighted mean over
the principles. The ledger keeps every answer, so that what was asked once costs nothing again. Trains nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from rlaif.policy.rewards.episodes import Episode, Opinion, Reason, RewardFailure
from rlaif.records import (
    FailedJudgement,
    Judgement,
    Model,
    ModelObserved,
    Prompt,
    Record,
    Sample,
    digest_text,
)

FOLDER = "judge_reward"
"""Folder in the stage that lists the questions PPO asked the judge. Its name starts with `judge_`, so that the run's
account of its judges counts it."""


class AskedJudge:
    """The run's first judge while the policy trains, within the caps on what its judges may cost."""

    def __init__(
        self,
        asking: Asking,
        *,
        open_judge: Callable[[], TokenScorer],
        folder: Path,
        start: Model,
        use: Callable[[Sequence[Record]], None],
    ) -> None:
        """asking: with `drops_refused`, as whoever trains limits failures itself.

        open_judge: called when the first response is to be judged. folder: the stage's. start: the policy that the run
        started from. use: notes that the stage used records.
        """
        self.asking, self._open_judge, self._use = asking, open_judge, use
        self._folder = folder / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._policy = Model(
            engine="recorded",
            weights=f"in training from {start.id}",
            observed=ModelObserved(name="the policy in training"),
        )
        asking.ledger.append([self._policy])

    def ask(self, pairs: Sequence[tuple[Sample, Sample]], *, prompts: Mapping[str, Prompt]) -> Judging:
        """What the judge says of the pairs; a response with itself is judged alone."""
        different = list({sample.id: sample for pair in pairs for sample in pair}.values())
        self.asking.ledger.append([*prompts.values(), *different])
        plan_path = self._folder / f"{digest_text(' '.join(s.id for s in different))[:16]}_questions_plan.json"
        judging = judge_pairs(
            pairs,
            prompts=prompts,
            asking=self.asking,
            scorer=self._scorer,
            plan_path=plan_path,
            label="",
        )
        compared = [one for one in judging.comparisons if one.sample_ids[0] != one.sample_ids[1]]
        self._use([*judging.questions, *judging.judgements, *judging.failed, *compared])
        self._put_away(plan_path)
        return judging

    def as_sample(self, episode: Episode) -> Sample:
        """The same text to the same prompt is the same sample in every step, so that it is asked about once.

        Only a judge that reads likelihoods sees whether the policy ended its response.
        """
        is_cut = not episode.is_whole and score_request(self.asking.template).reads == "likelihood"
        return Sample(
            prompt_id=episode.prompt.id,
            policy_id=self._policy.id,
            finish_reason="length" if is_cut else "recorded",
            text=episode.response,
        )

    @cached_property
    def _scorer(self) -> TokenScorer:
        """The judge, opened when it is first asked."""
        return ask_at_once(self._open_judge())

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


class JudgeReward:
    """Implements `RewardSource`, and with `judge` a `Critic`: each response is scored by itself."""

    def __init__(self, asked: AskedJudge) -> None:
        """asked: with a template that scores."""
        self._asked = asked

    def __call__(self, episodes: Sequence[Episode]) -> list[float | RewardFailure]:
        """From -1, the lowest score of all principles, to 1; where the judge fails under one of them, its failure."""
        return [opinion.score if isinstance(opinion, Opinion) else opinion for opinion in self.judge(episodes)]

    def judge(self, episodes: Sequence[Episode]) -> list[Opinion | RewardFailure]:
        """Scores as above, with the judge's reasons."""
        samples = [self._asked.as_sample(episode) for episode in episodes]
        different = {sample.id: sample for sample in samples}.values()
        prompts = {episode.prompt.id: episode.prompt for episode in episodes}
        judging = self._asked.ask([(sample, sample) for sample in different], prompts=prompts)
        opinions = self._read(different, judging)
        return [opinions[sample.id] for sample in samples]

    def _read(self, samples: Iterable[Sample], judging: Judging) -> dict[str, Opinion | RewardFailure]:
        question_of = {question.id: question for question in judging.questions}
        answers: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
        for judgement in judging.judgements:
            question = question_of[judgement.question_id]
            answers[question.sample_ids[0], question.principles[0].text_digest].append(judgement)
        failed = {question_of[failure.question_id].sample_ids[0]: failure for failure in judging.failed}
        return {sample.id: self._weigh(sample, answers, failed.get(sample.id)) for sample in samples}

    def _weigh(
        self, sample: Sample, answers: dict[tuple[str, str], list[Judgement]], failed: FailedJudgement | None
    ) -> Opinion | RewardFailure:
        """What the response is worth by its answers under each principle that it was asked about."""
        asking = self._asked.asking
        asked = principles_of(asking.constitution, [sample.id, sample.id], draw_seed=asking.draw_seed)
        found: list[list[Judgement]] = []
        for principle in asked:
            given = answers.get((sample.id, principle.digest))
            if given is None:
                return explain_failure(failed)
            found.append(given)
        worth = MODES[asking.template.kind].worth
        assert worth is not None  # load_score_template refuses a mode without it
        return Opinion(
            worth(found, weights=[principle.weight for principle in asked], template=asking.template),
            tuple(Reason(one.text, given[0].reason or "") for one, given in zip(asked, found, strict=True)),
            tuple(judgement.id for given in found for judgement in given),
        )


def explain_failure(failed: FailedJudgement | None) -> RewardFailure:
    """A failed judgement as the failure of an episode. None: the question has no answer and no failure."""
    return RewardFailure("unanswered") if failed is None else RewardFailure(failed.cause, failed.raw_reply[-200:])


def ask_at_once(judge: TokenScorer) -> TokenScorer:
    """The judge without its batch endpoint, which answers within a day: training waits for its rewards."""
    return judge.live() if isinstance(judge, BatchingScorer) else judge
