"""Several reward models of one data set, trained one after the other and asked together."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlaif.config.base import TYPED
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.reward_model import RewardModelConfig
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError, RunFolderError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.rewards.episodes import Episode, RewardFailure, Scattered, WeightedReward, score_episodes
from rlaif.policy.rewards.sources import _reward_by_members
from rlaif.records import PreferenceRow, Prompt
from rlaif.reward_model.ensemble import EnsembleScorer, Opinion, open_scorer, read_ensemble
from rlaif.reward_model.members import draw_prompts, train_ensemble
from rlaif.reward_model.score import RewardModelScorer
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import Listener, StepMetrics

CONFIG = RewardModelConfig(batch_size=6, num_epochs=1, learning_rate=5e-3, checkpoint_every=2, num_members=2)


def test_mean_worst_case_and_mean_less_variance_by_hand() -> None:
    opinion = Opinion((1.0, 2.0, 6.0))
    assert opinion.combine("mean", coefficient=9.0) == 3.0
    assert opinion.combine("worst", coefficient=9.0) == 1.0
    assert opinion.combine("mean_less_variance", coefficient=0.5) == pytest.approx(3 - 0.5 * (4 + 1 + 9) / 3)
    assert opinion.spread == pytest.approx(statistics.pstdev([1, 2, 6]))


class Member:
    """A reward model that says fixed numbers."""

    def __init__(self, mean: float, *outcomes: Any) -> None:
        self.mean, self._outcomes = mean, outcomes

    def score_each(self, examples: Any) -> Any:
        return list(self._outcomes)


def test_members_are_brought_to_one_mean_and_a_failure_of_one_is_one_of_all() -> None:
    members: Any = [Member(0.0, 1.0, 2.0), Member(4.0, 5.0, "over_length")]
    scorer = EnsembleScorer(members)
    first, second = scorer.ask([])
    assert first == Opinion((3.0, 3.0)), "each is one above its own mean, and the means' mean is 2"
    assert second == "over_length"
    assert scorer.score_each([]) == [3.0, "over_length"]


def test_a_bootstrap_draws_whole_prompts_and_counts_those_drawn_twice_twice(train_rows: list[PreferenceRow]) -> None:
    drawn = draw_prompts(train_rows, seed=3)
    weights = {row.prompt.id: row.weight for row in drawn}
    assert sum(weights.values()) == len({row.prompt.id for row in train_rows})
    assert Counter(row.prompt.id for row in drawn) == dict.fromkeys(weights, 3)
    assert draw_prompts(train_rows, seed=3) == drawn != draw_prompts(train_rows, seed=4)


def train(
    base: LoadedModel, rows: list[PreferenceRow], out_dir: Path, *, config: RewardModelConfig = CONFIG, **options: Any
) -> TrainedRewardModel:
    return train_ensemble(
        base=base,
        train_rows=rows,
        test_rows=options.pop("test_rows", []),
        config=config,
        out_dir=out_dir,
        seed=1,
        **options,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(
    base: LoadedModel, train_rows: list[PreferenceRow], test_rows: Any, tmp_path_factory: pytest.TempPathFactory
) -> TrainedRewardModel:
    return train(base, train_rows, tmp_path_factory.mktemp("ensemble") / "model", test_rows=test_rows)


def test_the_folder_is_the_first_members_own_and_holds_the_others(
    made: TrainedRewardModel, base: LoadedModel, train_rows: list[PreferenceRow], tmp_path: Path
) -> None:
    single = train_reward_model(
        base=base, train_rows=train_rows, test_rows=[], out_dir=tmp_path / "single", seed=1,
        config=CONFIG.model_copy(update={"num_members": 1}),
    )  # fmt: skip
    weights = (single.path / "model.safetensors").read_bytes()
    assert (made.path / "model.safetensors").read_bytes() == weights
    assert (made.path / "member_2" / "model.safetensors").read_bytes() != weights
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["model"]
    ensemble = read_ensemble(made.path)
    assert ensemble is not None
    assert made.held_out == ensemble.held_out
    assert ensemble.spread is not None
    assert ensemble.spread > 0
    assert (made.card.metrics["num_members"], made.card.metrics["member_spread"]) == (2.0, ensemble.spread)
    assert "## One of 2 reward models" in (made.path / "README.md").read_text()


def test_the_scorer_of_the_folder_gives_the_members_mean(
    made: TrainedRewardModel, test_rows: list[PreferenceRow]
) -> None:
    examples: list[tuple[Prompt, str]] = [(row.prompt, row.chosen) for row in test_rows]
    scorer = open_scorer(made.loaded)
    assert isinstance(scorer, EnsembleScorer)
    opinions = [one for one in scorer.ask(examples) if not isinstance(one, str)]
    single = RewardModelScorer(made.loaded)
    shift = opinions[0].rewards[0] - single.score(examples)[0]
    assert [one.rewards[0] - shift for one in opinions] == pytest.approx(single.score(examples), abs=1e-5)
    assert scorer.score_each(examples) == [one.mean for one in opinions]


def test_an_ensemble_that_stopped_in_its_second_member_ends_as_the_unbroken_one(
    made: TrainedRewardModel, base: LoadedModel, train_rows: list[PreferenceRow], test_rows: Any, tmp_path: Path
) -> None:
    steps: list[int] = []

    def stop(done: StepMetrics) -> None:
        steps.append(done.step)
        if done.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, train_rows, tmp_path / "model", test_rows=test_rows, listener=Listener(on_metrics=stop))
    begun: list[int] = []
    train(base, train_rows, tmp_path / "model", test_rows=test_rows, listener=Listener(on_begin=begun.append))
    assert steps == [1, 2, 3, 4, 5, 6, 7], "four steps each"
    assert begun == [7], "the first one is finished, and the second one has a checkpoint after its second step"
    assert contents(tmp_path / "model") == contents(made.path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_another_number_of_members_is_refused_and_a_finished_ensemble_is_not_trained_again(
    made: TrainedRewardModel, base: LoadedModel, train_rows: list[PreferenceRow], test_rows: Any
) -> None:
    before = contents(made.path)
    with pytest.raises(RunFolderError, match="another number of members"):
        train(base, train_rows, made.path, config=CONFIG.model_copy(update={"num_members": 3}))
    begun: list[int] = []
    again = train(base, train_rows, made.path, test_rows=test_rows, listener=Listener(on_begin=begun.append))
    assert (begun, again.card, contents(made.path)) == ([], made.card, before)


def test_ppo_gets_the_scores_as_asked_and_how_far_the_members_differ(
    made: TrainedRewardModel, test_rows: list[PreferenceRow]
) -> None:
    episodes = [Episode(row.prompt, row.chosen) for row in test_rows[:3]]
    found = {}
    for members in ("mean", "worst", "mean_less_variance"):
        source = RewardConfig(model=str(made.path), members=members, name="rm")
        reward = WeightedReward("rm", _reward_by_members(made.loaded, source))
        found[members] = score_episodes([reward], episodes, scales={}, max_failed=0.0, where="here")
    spreads = found["mean"].spreads["rm"]
    assert all(spread > 0 for spread in spreads)
    for mean, worst, less, spread in zip(*(scored.scores for scored in found.values()), spreads, strict=True):
        assert worst == pytest.approx(mean - spread), "of two members each lies one deviation from the mean"
        assert less == pytest.approx(mean - 0.5 * spread**2)


def test_spreads_are_those_of_the_episodes_that_every_source_scored() -> None:
    episode: Any = None
    rewards = [
        WeightedReward("several", lambda episodes: [Scattered(float(n), n / 10) for n, _ in enumerate(episodes)]),
        WeightedReward("one", lambda episodes: [1.0, RewardFailure("refused"), 3.0]),
    ]
    scored = score_episodes(rewards, [episode] * 3, scales={}, max_failed=0.5, where="here")
    assert scored.kept == [0, 2]
    assert scored.spreads == {"several": [0.0, 0.2]}


def test_what_several_models_come_to_is_refused_where_there_is_one(
    made: TrainedRewardModel, tmp_path: Path, base: LoadedModel, train_rows: list[PreferenceRow]
) -> None:
    with pytest.raises(ValidationError, match="it trains one: set reward_model.num_members"):
        RunConfig.model_validate({"ppo": {"rewards": [{"model": "run", "members": "worst"}]}})
    RunConfig.model_validate({
        "ppo": {"rewards": [{"model": "run", "members": "worst"}]}, "reward_model": {"num_members": 4},
    })  # fmt: skip
    alone = made.loaded._replace(folder=made.path / "member_2")
    with pytest.raises(ConfigError, match="takes worst of several reward models and there is one"):
        _reward_by_members(alone, RewardConfig(model="x", members="worst"))


def test_equal_members_and_idle_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="as many equal models"):
        RewardModelConfig(train="readout", num_members=3)
    RewardModelConfig(train="readout", num_members=3, bootstrap=True)
    with pytest.raises(ValidationError, match="bootstrap does nothing with num_members: 1"):
        RewardModelConfig.model_validate({"bootstrap": True}, context=TYPED)
    with pytest.raises(ValidationError, match="members is an option of a source with `model`"):
        RewardConfig(judge=True, members="worst")
