"""PPO's models by way of rlaif.yaml on the front desk: what starts it, what it leaves, what it goes on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.errors import ConfigError
from rlaif.loop.open_run import open_work
from rlaif.models.weights.adapters import has_adapter
from rlaif.models.weights.loading import load_reward_model
from rlaif.policy.ppo.given_models import find_initial_policy, make_value_start
from rlaif.policy.stage import train_policy
from rlaif.reward_model.stage import train_on_preferences
from rlaif.sampling.stage import make_prompts
from rlaif.training.metrics import MetricsLog

SMALL = [
    "prompts.num_prompts=16", "sampling.num_samples=2", "sampling.num_pairs=1", "reward_model.num_epochs=1",
    "ppo.num_steps=2", "ppo.num_prompts_per_step=4", "ppo.num_samples_per_prompt=2", "ppo.value_warmup_steps=0",
    "ppo.response_length=16",
]  # fmt: skip
LORA = ["ppo.model.train=lora", "ppo.model.save_adapter=true", "ppo.model.lora.rank=2"]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def prefer_short(prompt: str, response: str, reference: str | None) -> float:
    return -float(len(response))


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose policy is trained by adapters and whose values begin as its reward model."""
    folder = tmp_path_factory.mktemp("runs")
    config = load_config(overrides=[*SMALL, *LORA, "ppo.model.value_model=separate"])
    with open_work(config, run_name="first", runs_dir=folder, resume=False) as work:
        pipeline.generate_preferences(work)
        train_on_preferences(work.round, work.book, work.shelf)
        train_policy(*work)
    return folder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


def test_the_trained_policy_is_a_plain_folder_and_its_adapter_stands_beside_it(runs_dir: Path) -> None:
    folder = runs_dir / "first" / "round_00" / "6_policy"
    assert not list((folder / "model").glob("adapter*"))
    plain = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"], dtype=torch.float32)
    assert not torch.allclose(logits(plain), logits(base), atol=1e-3)
    adapted = PeftModel.from_pretrained(base, str(folder / "adapter"))
    torch.testing.assert_close(logits(adapted), logits(plain), atol=1e-4, rtol=1e-4)


def test_the_first_values_are_the_reward_models(runs_dir: Path) -> None:
    rows = MetricsLog(runs_dir / "first" / "metrics.jsonl", round=0).read("policy")
    assert rows[0].numbers["loss/value_avg"] is not None
    assert rows[0].numbers["val/explained_variance"] != 0.0, "values of a head of zeros explain nothing"


def test_a_policy_that_is_an_adapter_is_trained_on_and_its_kl_begins_at_zero(runs_dir: Path, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(runs_dir / "first" / "round_00" / "6_policy" / "adapter", tmp_path / "adapter"))
    overrides = [
        *SMALL, *LORA, f"policy.path={adapter}", "sampling.max_new_tokens=16", "ppo.learning_rate=7e-4",
        'ppo.rewards=[{"function": "test_ppo_models_pipeline:prefer_short"}]',
    ]  # fmt: skip
    with open_work(load_config(overrides=overrides), run_name="second", runs_dir=tmp_path, resume=False) as work:
        start = work.shelf.policy("start")
        assert not has_adapter(start.model), "every other stage has a plain model"
        initial = find_initial_policy(work.round.config, start=lambda: start, current=lambda: start)
        assert has_adapter(initial.model)
        make_prompts(work.round, work.book, work.shelf)
        train_policy(*work)
        made = work.shelf.policy_dir
    first = MetricsLog(tmp_path / "second" / "metrics.jsonl", round=0).read("policy")[0].numbers
    assert first["objective/kl"] == pytest.approx(0.0, abs=1e-5)
    before, after = (
        json.loads((folder / "adapter_config.json").read_text()) for folder in (adapter, made.with_name("adapter"))
    )
    assert (before["r"], before["base_model_name_or_path"]) == (after["r"], after["base_model_name_or_path"])
    trained = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(after["base_model_name_or_path"], dtype=torch.float32),
        str(made.with_name("adapter")),
    )
    torch.testing.assert_close(
        logits(trained), logits(AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32)), atol=1e-4, rtol=1e-4
    )


def test_a_reward_model_with_another_tokenizer_cannot_be_what_values_begin_as(runs_dir: Path, tmp_path: Path) -> None:
    with open_work(load_config(overrides=SMALL), run_name="third", runs_dir=tmp_path, resume=False) as work:
        policy = work.shelf.policy("start")
    model = runs_dir / "first" / "round_00" / "5_reward_model" / "model"
    loaded = load_reward_model(str(model), device="cpu")
    start = make_value_start(loaded, name="reward_model", policy=policy)
    assert start.head.out_features == 1
    loaded.tokenizer.add_tokens(["anotherword"])
    with pytest.raises(ConfigError, match="another tokenizer than the policy"):
        make_value_start(loaded, name="reward_model", policy=policy)
