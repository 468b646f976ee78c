"""`truncated: mask`: what a response that is not trained on may change of the others, which is nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from examples import examples
from rlaif.config.ppo import PpoConfig
from rlaif.errors import TrainingError
from rlaif.policy.ppo.advantages import compute_rloo
from rlaif.policy.ppo.batching import TokenSequence
from rlaif.policy.ppo.checkpoint import find_checkpoints, read_progress
from rlaif.policy.ppo.checks import Checks
from rlaif.policy.ppo.metrics import describe_step
from rlaif.policy.ppo.mismatch import describe_rollout, gap_of_batch
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.prepare import prepare_batch
from rlaif.policy.ppo.rollout import Rollout
from rlaif.policy.ppo.train import measure_vitals, train_policy
from rlaif.policy.ppo.trajectories import Trajectory
from rlaif.policy.ppo.update import UpdateStats, update
from rlaif.policy.rewards.episodes import Episode, Scored
from rlaif.records import Message, Prompt
from rlaif.training.listener import Listener

STOP = 15
PROMPTS = [Prompt(messages=(Message(role="user", content=f"question {n}"),)) for n in range(3)]
FINISHED = [
    (0, [3, 4, STOP], 1.0), (0, [9, STOP], -0.5), (0, [5, 5, 5, STOP], 0.3), (1, [2, STOP], 0.8),
    (1, [7, 8, STOP], 2.0), (2, [11, STOP], -1.2),
]  # fmt: skip
"""Prompt, tokens and score; the last one is alone with its prompt."""
CUT = [(0, 2), (1, 5), (2, 3)]
"""Prompt of each response that ran out of tokens, and the row where it stands."""
NO_STATS = UpdateStats(0, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def models() -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64,
        )  # fmt: skip
        made.append(LlamaForCausalLM(config).eval())
    return made[0], made[1]


def come_to(
    models: tuple[LlamaForCausalLM, LlamaForCausalLM], cut: Sequence[tuple[list[int], float]], **options: Any
) -> dict[str, Any]:
    """All that a step's numbers, metrics and weights come to; `cut`: tokens and scores of those that were cut off."""
    rows = [(PROMPTS[n], TokenSequence([1, 2 + n], ids), True, score) for n, ids, score in FINISHED]
    for (n, at), (ids, score) in zip(CUT, cut, strict=True):
        rows.insert(at, (PROMPTS[n], TokenSequence([1, 2 + n], ids), False, score))
    trajectories = [
        Trajectory(prompt, tokens, finished, "", None, engine_logprobs=[-0.5 - 0.01 * i for i in tokens.response_ids])
        for prompt, tokens, finished, _ in rows
    ]
    scores = [score for *_, score in rows]
    config = PpoConfig(truncated="mask", num_samples_per_prompt=4, **options)
    torch.manual_seed(2)
    learner = PolicyWithValue(models[0]).train(False)
    learner.value_head.weight.data.normal_()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    batch = prepare_batch(learner, models[1], trajectories, scores=scores, kl_coef=0.1, config=config, pad_id=0)
    rollout = Rollout(trajectories, Scored(list(range(len(rows))), {"a": scores, "b": scores}, scores, Counter()), None)
    vitals = measure_vitals(rollout, batch)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    stats = update(learner, optimizer, batch, learning_rate=0.1, config=config, pad_id=0, seed=0, step=9)
    metrics = describe_step(
        batch, stats, step=0, episodes=9, scored=rollout.scored, vitals=vitals, kl_coef=0.1, learning_rate=0.1
    ) | describe_rollout(batch, trajectories, gap=gap_of_batch(batch), step=0, config=config)
    weights = torch.cat([value.flatten().clone() for value in learner.state_dict().values()])
    learner.load_state_dict(before)
    width = max(len(ids) for _, ids, _ in FINISHED)
    return {
        "advantages": batch.advantages[batch.trained, :width],
        "returns": batch.returns[batch.trained, :width],
        "weights": weights,
        "metrics": torch.tensor(list(metrics.values())),
        "vitals": torch.tensor(list(vitals.model_dump().values())),
    }


tokens = st.lists(st.integers(1, 14), min_size=1, max_size=6)
options = st.fixed_dictionaries({
    "algorithm": st.sampled_from(["ppo", "rloo", "grpo"]), "whiten_rewards": st.booleans(),
    "whiten_advantages": st.sampled_from([None, True, False]), "kl_estimator": st.sampled_from(["k1", "k2", "k3"]),
    "num_mini_batches": st.sampled_from([1, 3, 9]), "value_lam": st.sampled_from([None, 1.0]),
})  # fmt: skip


@settings(max_examples=examples(8), deadline=None, derandomize=True)
@given(options, st.lists(st.tuples(tokens, st.sampled_from([-50.0, 0.0, 50.0])), min_size=3, max_size=3))
def test_neither_score_nor_text_of_a_masked_response_changes_anything_of_the_others(
    models: tuple[LlamaForCausalLM, LlamaForCausalLM], options: dict[str, Any], cut: list[tuple[list[int], float]]
) -> None:
    if options["algorithm"] != "ppo":
        options = options | {"value_lam": None}
    plain = come_to(models, [([6, 6], 0.0)] * 3, **options)
    other = come_to(models, cut, **options)
    for name, value in plain.items():
        torch.testing.assert_close(
            other[name], value, atol=2e-5, rtol=1e-4, msg=lambda words, name=name: f"{name}: {words}"
        )


def test_leave_one_out_compares_trained_responses_alone_and_a_single_one_with_nothing() -> None:
    mask = torch.ones(5, 1, dtype=torch.bool)
    rewards = torch.tensor([[1.0], [50.0], [-1.0], [3.0], [9.0]])
    found = compute_rloo(rewards, mask, prompts=["a", "a", "a", "b", "b"], trained=[0, 2, 3])
    assert found.advantages.flatten().tolist() == [2.0, 0.0, -2.0, 0.0, 0.0]


def test_a_response_that_nothing_is_compared_with_gets_no_advantage_from_whitening(
    models: tuple[LlamaForCausalLM, LlamaForCausalLM],
) -> None:
    found = come_to(models, [([6, 6], 0.0)] * 3, algorithm="rloo", whiten_advantages=True)
    assert found["advantages"][-1].tolist() == [0.0] * 4
    compared = found["advantages"][:-1]
    counted = compared[torch.tensor([[j < len(ids) for j in range(4)] for _, ids, _ in FINISHED[:-1]])]
    assert float(counted.mean()) == pytest.approx(0, abs=1e-6)
    assert float(counted.std(correction=0)) == pytest.approx(1, abs=1e-4)


class Trainer:
    """A whole training in which cut-off responses get a score of their own."""

    def __init__(self, make_llama: Callable[..., Any], encoder: Any, prompts: Any, folder: Path) -> None:
        self.policy, self.encoder, self.prompts, self.folder = make_llama(sharpness=10.0), encoder, prompts, folder

    def __call__(self, *, of_cut: float, **options: Any) -> tuple[list[dict[str, float]], Any]:
        metrics: list[dict[str, float]] = []
        out_dir = self.folder / str(len(list(self.folder.iterdir())))

        def reward(episodes: Sequence[Episode]) -> list[float]:
            return [of_cut if len(e.response) == 4 else float(e.response.count("a")) for e in episodes]

        train_policy(
            policy=self.policy, encoder=self.encoder, prompts=self.prompts, reward=reward,
            config=PpoConfig(**({
                "num_steps": 2, "num_prompts_per_step": 6, "num_samples_per_prompt": 3, "response_length": 4,
                "learning_rate": 3e-3, "num_reference_samples": 12, "value_warmup_steps": 0,
                "guards": {"evaluate_every": 1, "max_eos_drop": None, "max_length_factor": None},
            } | options)),
            out_dir=out_dir, seed=3, resume=False,
            listener=Listener(on_metrics=lambda done: metrics.append(done.numbers)),
            checks=Checks(prompts=self.prompts[:6], held_out=reward),
        )  # fmt: skip
        return metrics, read_progress(find_checkpoints(out_dir)[-1])


@pytest.fixture
def trainer(make_llama: Any, letter_encoder: Any, letter_prompts: Any, tmp_path: Path) -> Trainer:
    return Trainer(make_llama, letter_encoder, letter_prompts, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"truncated": "mask", "standardise_scores": True, "adaptive_kl": True, "whiten_rewards": True},
        {"truncated": "replace", "standardise_scores": True},
    ],
)
def test_the_score_of_a_cut_off_response_enters_no_running_number_of_a_training(
    trainer: Trainer, options: dict[str, Any]
) -> None:
    (metrics, progress), (others, other) = (trainer(of_cut=score, **options) for score in (0.0, 50.0))
    assert 0 < metrics[0]["val/eos_rate"] < 1
    assert progress.score_scales == other.score_scales
    assert (progress.kl_coef, progress.looks) == (other.kl_coef, other.looks)
    if options["truncated"] == "mask":
        assert metrics == others
        assert progress.evaluations == other.evaluations
        assert progress.best_step == other.best_step


def test_an_evaluation_without_a_response_that_ended_has_no_score_where_those_are_masked(trainer: Trainer) -> None:
    trainer.encoder.stop_token_ids = ()
    with pytest.raises(TrainingError, match="all responses of a step ran out of tokens"):
        trainer(of_cut=0.0, truncated="mask")
    with pytest.raises(TrainingError, match="there is no scale to bring scores to"):
        trainer(of_cut=0.0, truncated="mask", standardise_scores=True)
    _, progress = trainer(of_cut=0.0, truncated="penalise")
    assert "eval/scores" in progress.evaluations[0].numbers
