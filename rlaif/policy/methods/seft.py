"""SEFT: prompts -> a policy that learnt its own responses, improved by a reviser and filtered by the judge.

Self-evolution fine-tuning (arXiv:2406.10813), which is also critique and revision by principles (Bai et al. 2022,
arXiv:2212.08073, section 3.1). A trained reviser first learns from preferences. In each round the policy answers
prompts that need no label, the judge scores the answers, the reviser copies good ones and improves others, the judge
scores these too, and the policy learns what is no worse than before. How the paper trains its reviser is our
reconstruction: it has published no code. A checkpoint after the reviser and after each round; what was interrupted is
done again, and the judge's answers to it are in the ledger. Saves no finished model.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from rlaif.config.learner import StepsConfig
from rlaif.config.models import is_frontdesk
from rlaif.config.run import RunConfig
from rlaif.config.seft import SeftConfig
from rlaif.errors import ConfigError, StageError, TrainingError
from rlaif.models.weights.context import NO_LIMIT, context_tokens_of, describe_length_bound
from rlaif.policy.methods.by_preferences import check_one_process
from rlaif.policy.methods.descent import (
    Descent,
    computing_of,
    count_steps,
    cut_batch,
    plan_batches,
)
from rlaif.policy.methods.irft import sum_logprobs
from rlaif.policy.methods.learner import finish, make_learner
from rlaif.policy.methods.outer import Progress, digest_task, resume, trained_tensors, write
from rlaif.policy.methods.reviser import Draft, PromptedReviser, Revised, Reviser, TrainedReviser, encode_examples
from rlaif.policy.methods.revision_examples import Example, find_examples
from rlaif.policy.methods.revision_record import Revision, count_revisions, find_learnt, write_revisions
from rlaif.policy.ppo.batching import TokenSequence, permutation
from rlaif.policy.ppo.passes import PLAIN
from rlaif.policy.ppo.trajectories import EncodedPrompt, Trajectory, plan_responses, sample_pending
from rlaif.policy.preference_items import check_items, find_pairs
from rlaif.policy.rewards.episodes import Critic, Episode, Opinion, RewardFailure
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Prompt, Tally
from rlaif.stats.ranks import FLOAT32_TOLERANCE, is_above
from rlaif.training.listener import Listener, StepMetrics

FIRST_STEP = 1
BATCH = 64
"""Responses that are drawn together."""
_COUNT = "count/"
"""How the names of the numbers begin that say why responses were not learnt."""


def check_seft(config: RunConfig, num_processes: int) -> None:
    """Refuse more than one process, and the front desk's policy as its own instructed reviser."""
    check_one_process("seft", num_processes)
    if config.seft.reviser == "prompted" and is_frontdesk(config.policy.path, part="policy"):
        raise ConfigError(
            "the front desk's policy follows no instruction, so it cannot revise by being told to",
            where="seft.reviser",
            fix="say trained",
        )


def count_seft_steps(task: Task) -> int:
    """Steps if every example and every response is learnt."""
    config = task.config.seft
    per_round = min(config.prompts_per_round or len(task.prompts), len(task.prompts))
    steps = config.num_rounds * count_steps(per_round, config)
    if config.reviser == "trained":
        steps += count_steps(len(find_reviser_examples(task)), _of_reviser(config))
    return steps


def train_seft_task(task: Task) -> TrainedPolicy:
    """Train a copy of the task's initial policy, in float32, from the newest checkpoint in the task's folder."""
    config = task.config.seft
    examples = find_reviser_examples(task) if config.reviser == "trained" else []
    training = SeftTraining(task)
    learnt_from = [prompt.id for prompt in task.prompts], [repr(example[1:]) for example in examples]
    digest = digest_task(task, options=[config], more=["\n".join(one) for one in learnt_from])
    progress = resume(task.folder, training.tensors, digest=digest)
    task.listener.on_begin(FIRST_STEP + progress.step)
    if config.reviser == "trained" and progress.outer == 0:
        steps = training.train_reviser(examples, listener=task.listener)
        progress = progress.model_copy(update={"outer": 1, "step": steps})
        write(task.folder, training.tensors, progress)
    first = int(config.reviser == "trained")
    while progress.outer - first < config.num_rounds:
        progress = training.take_round(progress, number=progress.outer - first, listener=task.listener)
        write(task.folder, training.tensors, progress)
    numbers = progress.numbers
    dropped = {name.removeprefix(_COUNT): int(one) for name, one in numbers.items() if name.startswith(_COUNT)}
    tally = Tally(num_in=int(numbers["num_responses"]), dropped=dropped)
    metrics = {name: one for name, one in numbers.items() if not name.startswith(_COUNT)}
    return finish(
        training.policy, metrics={**metrics, "num_steps": float(progress.step)}, steps=progress.step, tally=tally
    )


def find_reviser_examples(task: Task) -> list[Example]:
    """What the reviser learns. StageError where the preferences hold no pair."""
    found = find_pairs(task.preferences, labels="hard")
    check_items(found, name="seft")
    return find_examples(found.items, major_from=task.config.seft.major_from)


def _of_reviser(config: SeftConfig) -> SeftConfig:
    """The options of the reviser's steps."""
    own = {"num_epochs": config.reviser_epochs, "learning_rate": config.reviser_learning_rate}
    return config.model_copy(update=own)


class SeftTraining:
    """The policy, its reviser and the judge, and a round of the three."""

    def __init__(self, task: Task) -> None:
        config, base = task.config.seft, task.initial
        assert task.critic is not None  # the stage gives one
        self._config, self._encoder, self._seed, self._folder = config, base.encoder, task.seed, task.folder
        self._critic: Critic = task.critic
        self._context = context_tokens_of(base.model) or NO_LIMIT
        prompts = [EncodedPrompt(prompt, base.encoder.encode(prompt.as_segments())) for prompt in task.prompts]
        longest = max(len(prompt.token_ids) for prompt in prompts)
        self._length = min(task.config.sampling.max_new_tokens, self._context - longest)
        self._prompts = [prompts[place] for place in permutation(len(prompts), key=(task.seed, "seft prompts"))]
        self.policy = make_learner(base.model, config, seed=task.seed, options="seft")
        self.tensors = {"policy": trained_tensors(self.policy)}
        self.revise: Reviser
        if config.reviser == "trained":
            self._reviser_model = make_learner(base.model, config, seed=task.seed, options="seft")
            self.tensors["reviser"] = trained_tensors(self._reviser_model)
            self.revise = TrainedReviser(
                self._reviser_model, base.encoder, max_new_tokens=self._length, context_tokens=self._context
            )
        else:
            self.revise = PromptedReviser(
                base.model, base.encoder, config, max_new_tokens=self._length, context_tokens=self._context
            )

    def train_reviser(self, examples: Sequence[Example], *, listener: Listener) -> int:
        """Teach the reviser its examples, and return the number of steps."""
        limit = min(self._config.max_length, self._context)
        sequences, num_long = encode_examples(examples, encoder=self._encoder, max_length=limit)
        if not sequences:
            raise StageError(
                f"the reviser has nothing to learn from: of {len(examples)} examples {num_long} are too long",
                where="seft.preferences",
                fix=describe_length_bound("seft.max_length", max_length=self._config.max_length, context=self._context)
                if num_long
                else "give preferences in which some response is preferred",
            )
        if num_long:
            listener.on_note(f"seft: {num_long} of {len(examples)} examples of the reviser are over seft.max_length")
        config, counted = _of_reviser(self._config), Counter(example.tag for example in examples)
        tags = {f"examples_{tag.lower()}": float(number) for tag, number in counted.items()}
        return imitate(
            self._reviser_model, sequences, config, key=(self._seed, "seft reviser"),
            numbers={"revision_round": 0.0, **tags}, pad_id=self._encoder.pad_token_id, first=FIRST_STEP,
            listener=listener,
        )  # fmt: skip

    def take_round(self, progress: Progress, *, number: int, listener: Listener) -> Progress:
        """Draw, judge, revise, judge again, and learn what is no worse. number: from 0."""
        drawn = self._draw(number)
        revisions = self._revise(drawn, round=number + 1)
        write_revisions(revisions, self._folder, round=number + 1)
        tally = count_revisions(revisions)
        learnt = find_learnt(revisions, [one.prompt for one in drawn])
        sequences, num_long = self._encode(learnt)
        if not sequences:
            raise StageError(
                f"no response of round {number + 1} can be learnt: {tally}",
                where=str(self._folder / "revisions"),
                fix="read the revisions there; raise seft.reviser_epochs where most have no tag, or take another judge",
            )
        measured = {"revision_round": number + 1.0, **measure_revisions(revisions)}
        steps = imitate(
            self.policy, sequences, self._config, key=(self._seed, "seft", number), numbers=measured,
            pad_id=self._encoder.pad_token_id, first=FIRST_STEP + progress.step, listener=listener,
        )  # fmt: skip
        counts = Counter({f"{_COUNT}{reason}": one for reason, one in tally.dropped.items()})
        counts["num_responses"] += len(revisions)
        if num_long:
            counts[f"{_COUNT}over_length"] += num_long
        before = progress.numbers
        numbers = {name: before.get(name, 0.0) + one for name, one in counts.items()}
        scores = {"first_score": before.get("first_score", measured["score"]), "last_score": measured["score"]}
        last = {name: measured[name] for name in ("revised_score", "gain", "kept") if name in measured}
        change = {"outer": progress.outer + 1, "step": progress.step + steps}
        return progress.model_copy(update={**change, "numbers": {**before, **numbers, **scores, **last}})

    def _draw(self, number: int) -> list[Trajectory]:
        """A response of the newest policy to each prompt of the round."""
        size = self._config.prompts_per_round or len(self._prompts)
        places = [at % len(self._prompts) for at in range(number * size, (number + 1) * size)]
        prompts = [self._prompts[place] for place in dict.fromkeys(places)]
        pending = plan_responses(prompts, num_samples=1, key=(self._seed, number))
        drawn: list[Trajectory] = []
        for at in range(0, len(pending), BATCH):
            with PLAIN.applied(self.policy):
                drawn += sample_pending(
                    self.policy, self._encoder, pending[at : at + BATCH], response_length=self._length, temperature=1.0
                )
        return drawn

    def _revise(self, drawn: Sequence[Trajectory], *, round: int) -> list[Revision]:
        """Each response's revision, judged and decided, in the order of the responses."""
        opinions = self._judge([Episode(one.prompt, one.response, is_whole=one.finished) for one in drawn], round=round)
        places = [place for place, opinion in enumerate(opinions) if isinstance(opinion, Opinion)]
        drafts = [
            Draft(drawn[place].prompt, drawn[place].response, opinion)
            for place, opinion in enumerate(opinions)
            if isinstance(opinion, Opinion)
        ]
        revised = dict(zip(places, self.revise(drafts), strict=True))
        changed = [at for at, one in revised.items() if not one.fault and one.text != drawn[at].response]
        episodes = [Episode(drawn[at].prompt, revised[at].text) for at in changed]
        again = dict(zip(changed, self._judge(episodes, round=round), strict=True))
        return [
            decide(one, opinions[at], revised.get(at), again.get(at, opinions[at]), round=round)
            for at, one in enumerate(drawn)
        ]

    def _judge(self, episodes: Sequence[Episode], *, round: int) -> Sequence[Opinion | RewardFailure]:
        """The judge's opinions. TrainingError where it fails on more than seft.max_failed of them."""
        opinions = self._critic(episodes) if episodes else []
        failed = Counter(one.cause for one in opinions if isinstance(one, RewardFailure))
        if failed.total() > self._config.max_failed * len(episodes):
            causes = ", ".join(f"{cause} {number}" for cause, number in failed.most_common())
            raise TrainingError(
                f"the judge failed on {failed.total()} of {len(episodes)} responses ({causes})",
                where=f"seft, round {round}",
                fix="fix the judge and resume, or raise seft.max_failed",
            )
        return opinions

    def _encode(self, learnt: Sequence[tuple[Prompt, str]]) -> tuple[list[TokenSequence], int]:
        """What the policy learns, and how much of it is longer than it reads."""
        limit = min(self._config.max_length, self._context)
        prompt_ids = {prompt.prompt.id: prompt.token_ids for prompt in self._prompts}
        responses = self._encoder.encode_responses([text for _, text in learnt]) if learnt else []
        found = [TokenSequence(prompt_ids[prompt.id], ids) for (prompt, _), ids in zip(learnt, responses, strict=True)]
        kept = [one for one in found if len(one.prompt_ids) + len(one.response_ids) <= limit]
        return kept, len(found) - len(kept)


def decide(
    drawn: Trajectory,
    opinion: Opinion | RewardFailure,
    revised: Revised | None,
    again: Opinion | RewardFailure,
    *,
    round: int,
) -> Revision:
    """A response's record. Its revision is learnt where the judge scores it no lower than the response.

    revised: None where the judge failed on the response. again: what the judge says of the revision.
    """
    record = Revision(
        round=round,
        prompt_id=drawn.prompt.id,
        original=drawn.response,
        score=None if isinstance(opinion, RewardFailure) else opinion.score,
        judgement_ids=() if isinstance(opinion, RewardFailure) else opinion.judgement_ids,
    )
    if isinstance(opinion, RewardFailure) or revised is None:
        cause = opinion.cause if isinstance(opinion, RewardFailure) else "unanswered"
        return record.model_copy(update={"dropped": f"judge/{cause}"})
    record = record.model_copy(update={"tag": revised.tag, "revised": revised.text})
    if revised.fault:
        return record.model_copy(update={"dropped": revised.fault})
    if isinstance(again, RewardFailure):
        return record.model_copy(update={"dropped": f"judge/{again.cause}"})
    dropped = ""
    if is_above(opinion.score, again.score, tolerance=FLOAT32_TOLERANCE):
        dropped = "worse"
    elif revised.text == drawn.response and not drawn.finished:
        dropped = "cut"
    elif not revised.text.strip():
        dropped = "empty"
    scored = {"revised_score": again.score, "revised_judgement_ids": again.judgement_ids}
    return record.model_copy(update={**scored, "dropped": dropped})


def measure_revisions(revisions: Sequence[Revision]) -> dict[str, float]:
    """What a round's revisions say: mean scores, the gain where both are known, shares of tags and of the kept."""
    number = len(revisions)
    scores = [one.score for one in revisions if one.score is not None]
    both = [(one.score, one.revised_score) for one in revisions if one.score is not None]
    gains = [after - before for before, after in both if after is not None]
    measured = {"score": statistics.fmean(scores), "kept": sum(one.is_kept for one in revisions) / number}
    for tag in ("GOOD", "MINOR", "MAJOR"):
        measured[f"tag_{tag.lower()}"] = sum(one.tag == tag for one in revisions) / number
    if gains:
        measured["gain"] = statistics.fmean(gains)
        measured["revised_score"] = statistics.fmean(after for _, after in both if after is not None)
    return measured


def imitate(
    learner: PreTrainedModel,
    sequences: Sequence[TokenSequence],
    config: StepsConfig,
    *,
    key: tuple[int | str, ...],
    pad_id: int,
    first: int,
    numbers: Mapping[str, float],
    listener: Listener,
) -> int:
    """Supervised steps on responses, per response token of a batch; returns their number. numbers: of every step."""
    descent = Descent(learner, config, num_steps=count_steps(len(sequences), config), options="seft")
    steps = 0
    for epoch in range(config.num_epochs):
        for batch in plan_batches(len(sequences), batch_size=config.batch_size, key=(*key, epoch)):
            num_tokens = sum(len(sequences[place].response_ids) for place in batch)

            def parts(batch: Sequence[int] = batch, num_tokens: int = num_tokens) -> Iterator[Tensor]:
                for places in cut_batch(batch, config):
                    chosen = [sequences[place] for place in places]
                    sums = sum_logprobs(learner, chosen, pad_id=pad_id, computing=computing_of(config))
                    yield -sums.sum() / num_tokens

            found = descent.step(parts(), number=first + steps)
            listener.on_metrics(StepMetrics(first + steps, {**found, **numbers}))
            steps += 1
    return steps
