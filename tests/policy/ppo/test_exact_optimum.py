"""The trainer that users run reaches the exact best policy of a world that can be enumerated.

max E[r] - beta KL(pi || pi_ref) has the optimum pi* = pi_ref exp(r / beta) / Z. Planted faults must miss it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlaif.policy.ppo.loss import compute_policy_loss
from rlaif.policy.ppo.shaping import KlEstimator, estimate_kl

MakeWorld = Callable[..., Any]
TEMPERATURE = 0.7
STOP = 3


def check_optimal(world: Any, model: Any) -> None:
    assert world.distance(model) < 2e-3
    best, reached = world.objective(world.best()), world.objective(world.logprobs(model))
    assert reached >= best - 0.005 * abs(best)
    assert best - reached == pytest.approx(world.beta * world.distance(model), abs=1e-5)


def test_ppo_reaches_the_exact_optimum(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(seed=0)
    assert world.distance(world.start) > 1
    check_optimal(world, world.train(tmp_path, num_steps=200).model)


def test_rloo_reaches_the_exact_optimum_without_a_value_head(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(seed=0)
    check_optimal(world, world.train(tmp_path, algorithm="rloo", num_steps=250).model)


def test_grpo_reaches_the_same_optimum_as_its_kl_is_in_the_returns(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(seed=0)
    check_optimal(world, world.train(tmp_path, algorithm="grpo", num_steps=250).model)


@pytest.mark.heavy(minutes=0.2)
@pytest.mark.parametrize("seed", range(1, 6))
def test_ppo_reaches_the_exact_optimum_of_other_worlds(make_world: MakeWorld, tmp_path: Path, seed: int) -> None:
    world = make_world(seed=seed)
    check_optimal(world, world.train(tmp_path, num_steps=200).model)


@pytest.fixture(scope="module")
def distances() -> dict[int, float]:
    """How near the trainer comes without a fault, by seed; each is computed once."""
    return {}


def make_world_with_a_stop_token(make_world: MakeWorld, *, seed: int) -> Any:
    return make_world(seed=seed, stop_id=STOP, temperature=TEMPERATURE)


def sign_flipped_kl(world: Any, tabular_class: Any, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    def flipped(logprobs: Tensor, ref_logprobs: Tensor, *, estimator: KlEstimator) -> Tensor:
        return -estimate_kl(logprobs, ref_logprobs, estimator=estimator)

    patch.setattr("rlaif.policy.ppo.prepare.estimate_kl", flipped)
    return {}


def kl_applied_twice(world: Any, tabular_class: Any, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"kl_coef": 2 * world.beta}


def reference_without_temperature(world: Any, tabular_class: Any, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    class Untempered(tabular_class):  # type: ignore[misc]
        def logits_at(self, nodes: Tensor) -> Tensor:
            logits: Tensor = super().logits_at(nodes) * TEMPERATURE
            return logits

    reference = Untempered(world.start.config)
    reference.load_state_dict(world.start.state_dict())
    return {"reference": reference}


def stopping_is_not_rewarded(world: Any, tabular_class: Any, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """As if the score stood on a token behind the stop token, where nothing is trained."""

    def reward(episodes: Any) -> list[float]:
        return [world.reward_of[e.response] if len(e.response) == world.depth else 0.0 for e in episodes]

    return {"reward": reward}


FAULTS = [
    sign_flipped_kl,
    kl_applied_twice,
    reference_without_temperature,
    stopping_is_not_rewarded,
]


def check_fault(
    fault: Any,
    make_world: MakeWorld,
    tabular_class: Any,
    patch: pytest.MonkeyPatch,
    out_dir: Path,
    distances: dict[int, float],
    *,
    seed: int,
    num_steps: int,
) -> None:
    if seed not in distances:
        world = make_world_with_a_stop_token(make_world, seed=seed)
        model = world.train(out_dir / "correct", num_steps=num_steps).model
        check_optimal(world, model)
        distances[seed] = world.distance(model)
    world = make_world_with_a_stop_token(make_world, seed=seed)
    model = world.train(out_dir / "faulty", num_steps=num_steps, **fault(world, tabular_class, patch)).model
    assert world.distance(model) > max(10 * distances[seed], 2e-2)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_misses_the_optimum_ten_times_over(
    make_world: MakeWorld,
    tabular_class: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    distances: dict[int, float],
    fault: Any,
) -> None:
    check_fault(fault, make_world, tabular_class, monkeypatch, tmp_path, distances, seed=0, num_steps=60)


@pytest.mark.heavy(minutes=0.2)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_misses_the_optimum_of_other_worlds(
    make_world: MakeWorld,
    tabular_class: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    distances: dict[int, float],
    fault: Any,
    seed: int,
) -> None:
    check_fault(fault, make_world, tabular_class, monkeypatch, tmp_path, distances, seed=seed, num_steps=150)


def ascend(world: Any, *, kl_as_loss: bool) -> Tensor:
    """The exact expected update over all responses, with the KL inside the reward or as a k3 loss."""
    reference = world.logprobs(world.start)
    logits = reference.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([logits], lr=0.02)
    for step in range(3000):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 3000)
        logprobs = torch.log_softmax(logits, dim=0)
        old = logprobs.detach()
        rewards = world.rewards.double()
        if not kl_as_loss:
            rewards = rewards - world.beta * estimate_kl(old, reference, estimator="k1")
        advantages = rewards - (old.exp() * rewards).sum()
        losses = compute_policy_loss(logprobs, old, advantages, cliprange=0.2).loss
        if kl_as_loss:
            losses = losses + world.beta * estimate_kl(logprobs, reference, estimator="k3")
        optimizer.zero_grad()
        (old.exp() * losses).sum().backward()
        optimizer.step()
    return torch.log_softmax(logits, dim=0).detach()


def forward_kl_optimum(world: Any) -> Tensor:
    """beta pi_ref / (c - r), with c so that it sums to one: the optimum under the forward KL."""
    reference, rewards = world.logprobs(world.start).exp(), world.rewards.double()
    low, high = float(rewards.max()) + 1e-9, float(rewards.max()) + 10.0
    for _ in range(200):
        c = (low + high) / 2
        low, high = (c, high) if float((world.beta * reference / (c - rewards)).sum()) > 1 else (low, c)
    return world.beta * reference / (c - rewards)


def test_k1_in_the_reward_finds_the_optimum_and_k3_as_a_loss_finds_another(make_world: MakeWorld) -> None:
    world = make_world(seed=0)
    best = world.best()
    inside = ascend(world, kl_as_loss=False)
    assert float((inside.exp() * (inside - best)).sum()) < 2e-3
    as_loss = ascend(world, kl_as_loss=True)
    assert float((as_loss.exp() * (as_loss - best)).sum()) > 10 * 2e-3
    assert world.objective(as_loss) < 0.995 * world.objective(best)
    assert float((as_loss.exp() - forward_kl_optimum(world)).abs().max()) < 1e-3
