"""PPO with a real vLLM as its rollout engine: new weights before every rollout, and what it says against the trainer.

The engine's own log-probabilities are compared, nothing recomputed in between; a sync that is skipped must be noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from servers import serving
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.config.ppo import PpoConfig
from rlaif.config.ppo_guards import GuardsConfig
from rlaif.config.ppo_model import PpoModelConfig
from rlaif.config.ppo_rollout import RolloutConfig
from rlaif.errors import TrainingError
from rlaif.models.vllm.copy import VllmCopy
from rlaif.models.vllm.server import VllmServer
from rlaif.models.vllm.weights import write_for_vllm
from rlaif.policy.ppo.engines import RolloutEngine, open_engine
from rlaif.policy.ppo.mismatch import measure_gap
from rlaif.policy.ppo.models import PolicyWithValue
from rlaif.policy.ppo.train import train_policy
from rlaif.policy.ppo.trajectories import EncodedPrompt, encode_prompts, plan_responses
from rlaif.policy.rewards.episodes import Episode, RewardFailure
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Message, Prompt
from rlaif.training.listener import Listener

pytestmark = pytest.mark.heavy
STOP, PAD = 15, 14
TEMPERATURE = 0.6
LIMIT = 1e-3
SMALL: dict[str, Any] = {
    "num_steps": 4, "num_prompts_per_step": 8, "num_samples_per_prompt": 4, "response_length": 12,
    "temperature": TEMPERATURE, "learning_rate": 5e-3, "value_warmup_steps": 0,
    "guards": GuardsConfig(kl_ceiling=None, max_length_factor=None, max_eos_drop=None, max_repetition_rise=None),
}  # fmt: skip


class Letters:
    """a, b, c, ... are the tokens 0, 1, 2, ..."""

    stop_token_ids, pad_token_id = (STOP,), PAD

    def encode(self, chat: Any) -> list[int]:
        return [ord(letter) - ord("a") for message in chat for letter in message.text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + i) for i in ids if i < PAD)


PROMPTS = [
    Prompt(messages=(Message(role="user", content=word),))
    for word in ("ab", "bad", "cab", "deaf", "face", "badge", "hi", "jade", "cafe", "beg", "head", "dig")
]


def make_policy(*, tied: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, tie_word_embeddings=tied, bos_token_id=None, eos_token_id=STOP, pad_token_id=PAD,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(4)
    return model


def count_a(episodes: Sequence[Episode]) -> list[float | RewardFailure]:
    return [float(episode.response.count("a")) for episode in episodes]


def train(
    out_dir: Path, rollout: RolloutConfig, *, tied: bool = False, **options: Any
) -> tuple[TrainedPolicy, list[dict[str, float]]]:
    metrics: list[dict[str, float]] = []
    trained = train_policy(
        policy=make_policy(tied=tied), encoder=Letters(), prompts=PROMPTS, reward=count_a,
        config=PpoConfig(**(SMALL | options), rollout=rollout), out_dir=out_dir, seed=3, resume=False,
        listener=Listener(on_metrics=lambda done: metrics.append(done.numbers)),
    )  # fmt: skip
    return trained, metrics


def check_synced(metrics: list[dict[str, float]], *, lag: list[float]) -> None:
    """The engine said what the trainer says, although the policy moved from step to step."""
    gaps = [step["rollout/logprob_gap"] for step in metrics]
    print("mean |engine - trainer| per step:", ", ".join(f"{gap:.1e}" for gap in gaps))
    assert len(gaps) == 4
    assert 0 < max(gaps) <= LIMIT
    assert [step["rollout/version_lag"] for step in metrics] == lag
    assert all(step["val/first_ratio_deviation"] < 1e-5 for step in metrics)
    assert abs(metrics[-1]["objective/kl"]) > 0.1


def offline(**options: Any) -> RolloutConfig:
    return RolloutConfig(engine="vllm", max_logprob_gap=LIMIT, **options)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    write_for_vllm(make_policy(), folder, dtype="float32")
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--dtype", "float32",
        "--enforce-eager", "--skip-tokenizer-init", "--logprobs-mode", "processed_logprobs", "--host", "127.0.0.1",
        "--port",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_SERVER_DEV_MODE", "1")
        with serving(command, log=folder / "server.log") as address:
            yield address


def served(url: str, **options: Any) -> RolloutConfig:
    return RolloutConfig(engine="vllm_server", max_logprob_gap=LIMIT, server={"url": url}, **options)


def test_vllm_gets_the_weights_before_every_rollout(tmp_path: Path) -> None:
    trained, metrics = train(tmp_path, offline())
    check_synced(metrics, lag=[0.0] * 4)
    assert trained.stop_reason == "done"


def test_vllm_samples_one_step_ahead_also_from_tied_embeddings(tmp_path: Path) -> None:
    _, metrics = train(tmp_path, offline(one_step_off=True), tied=True)
    check_synced(metrics, lag=[0.0, 1.0, 1.0, 1.0])
    assert min(step["rollout/mismatch_kl"] for step in metrics[1:]) > 1e-4


def test_vllm_gets_an_adapters_weights_merged(tmp_path: Path) -> None:
    _, metrics = train(tmp_path, offline(), model=PpoModelConfig(train="lora"), learning_rate=3e-2)
    check_synced(metrics, lag=[0.0] * 4)


@pytest.mark.parametrize("one_step_off", [False, True])
def test_a_skipped_sync_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step_off: bool) -> None:
    load, loaded = VllmCopy.load_weights, []

    def load_once(self: VllmCopy, folder: Path, *, version: str) -> None:
        if not loaded:
            load(self, folder, version=version)
        loaded.append(version)

    monkeypatch.setattr(VllmCopy, "load_weights", load_once)
    with pytest.raises(TrainingError, match="the weights after 1 updates did not reach the rollout engine"):
        train(tmp_path, offline(one_step_off=one_step_off))
    assert len(loaded) == (3 if one_step_off else 2)


def test_a_server_gets_the_weights_before_every_rollout(tmp_path: Path, url: str) -> None:
    _, metrics = train(tmp_path, served(url))
    check_synced(metrics, lag=[0.0] * 4)


def test_a_server_samples_one_step_ahead(tmp_path: Path, url: str) -> None:
    _, metrics = train(tmp_path, served(url, one_step_off=True))
    check_synced(metrics, lag=[0.0, 1.0, 1.0, 1.0])


def test_a_skipped_sync_of_a_server_is_noticed(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is told the new version, and reads its weights the first time alone."""
    ask, loaded = VllmServer._ask, []

    def load_once(self: VllmServer, request: Any, *, doing: str) -> dict[str, Any]:
        if request.path == "/collective_rpc":
            loaded.append(request)
            if len(loaded) > 1:
                return {}
        return ask(self, request, doing=doing)

    monkeypatch.setattr(VllmServer, "_ask", load_once)
    with pytest.raises(TrainingError, match="the weights after 1 updates did not reach the rollout engine"):
        train(tmp_path, served(url))
    assert len(loaded) == 2


def open_for(rollout: RolloutConfig) -> tuple[RolloutEngine, PolicyWithValue, list[EncodedPrompt], PpoConfig]:
    config = PpoConfig(**SMALL, rollout=rollout)
    learner = PolicyWithValue(make_policy()).train(False)
    encoded = encode_prompts(PROMPTS, Letters(), response_length=12, context_tokens=64)
    return open_engine(config, encoder=Letters(), prompts=encoded, device=torch.device("cpu")), learner, encoded, config


def test_a_server_that_was_given_other_weights_since_is_noticed(url: str) -> None:
    ours, learner, encoded, _ = open_for(served(url))
    theirs = open_for(served(url))[0]
    ours.sync(learner, version=7)
    assert ours.sample(plan_responses(encoded[:1], num_samples=1, key=(0,)), response_length=4)[0].version == 7
    theirs.sync(learner, version=7)
    with pytest.raises(TrainingError, match="no longer has the weights that it was given"):
        ours.sample(plan_responses(encoded[:1], num_samples=1, key=(0,)), response_length=4)


def test_what_is_drawn_depends_on_its_key_and_not_on_the_batch(url: str) -> None:
    for rollout in (offline(), served(url)):
        engine, learner, encoded, config = open_for(rollout)
        engine.sync(learner, version=0)
        whole = engine.sample(plan_responses(encoded, num_samples=3, key=(5, 2)), response_length=12)
        part = engine.sample(plan_responses(encoded[:2], num_samples=2, key=(5, 2)), response_length=12)
        other = engine.sample(plan_responses(encoded, num_samples=3, key=(5, 3)), response_length=12)
        gap = measure_gap(learner, whole, config=config, pad_id=PAD)
        engine.close()
        rows = [whole[0], whole[1], whole[3], whole[4]]
        assert [each.tokens for each in part] == [each.tokens for each in rows]
        assert len({tuple(each.tokens.response_ids) for each in whole}) > 25
        assert [each.tokens for each in other] != [each.tokens for each in whole]
        assert {each.finished for each in whole} == {True, False}
        assert all(each.finished == (each.tokens.response_ids[-1] == STOP) for each in whole)
        assert all(STOP not in each.tokens.response_ids[:-1] for each in whole)
        assert gap <= 1e-5
        untempered = config.model_copy(update={"temperature": 1.0})
        assert measure_gap(learner, whole, config=untempered, pad_id=PAD) > 0.1


def test_both_engines_draw_the_same_tokens(url: str) -> None:
    drawn: list[list[list[int]]] = []
    for rollout in (offline(), served(url)):
        engine, learner, encoded, _ = open_for(rollout)
        engine.sync(learner, version=0)
        sampled = engine.sample(plan_responses(encoded, num_samples=2, key=(1,)), response_length=12)
        drawn.append([each.tokens.response_ids for each in sampled])
        engine.close()
    assert drawn[0] == drawn[1]
