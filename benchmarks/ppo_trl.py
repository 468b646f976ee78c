"""TRL 1.12's PPOTrainer in the world of benchmarks/ppo.py, in a separate environment: prints one line of JSON.

Seconds are process time. Nothing of TRL is changed but that its phases are timed and, for the reward that can be
learnt, its reward model is replaced by a count.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import torch
import transformers
import trl
from datasets import Dataset
from ppo_world import EOS, PAD, World, count_reward, make_policy, make_prompts, make_scorer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

SECONDS: dict[str, float] = {}


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            SECONDS[name] = SECONDS.get(name, 0.0) + time.process_time() - started

    return call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", required=True, help="JSON of the world, batch, micro, epochs, steps, lr, reward")
    given = json.loads(parser.parse_args().options)
    world, batch, micro = World(**given["world"]), given["batch"], given["micro"]
    torch.set_num_threads(1)
    vocab = Tokenizer(models.WordLevel({f"t{i}": i for i in range(world.vocab)}, unk_token="t3"))
    vocab.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=vocab, pad_token="t0", eos_token="t1", bos_token="t2", unk_token="t3", padding_side="left"
    )
    policy, value_model = make_policy(world), make_scorer(world, seed=8)
    value_model.is_value_model = True
    if given["reward"] == "count":
        replace_reward(world)
    ppo_trainer.batch_generation = timed("generate", ppo_trainer.batch_generation)
    forward = ppo_trainer.forward
    ppo_trainer.forward = lambda *args, **kwargs: timed(
        "train_forward" if torch.is_grad_enabled() else "reference", forward
    )(*args, **kwargs)
    ppo_trainer.get_reward = timed("reward_and_value", ppo_trainer.get_reward)
    marks: list[tuple[float, dict[str, float]]] = []
    metrics: list[dict[str, Any]] = []

    class Mark(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append((time.process_time(), dict(SECONDS)))
            SECONDS.clear()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            metrics.append(dict(logs))

    with tempfile.TemporaryDirectory() as folder:
        config = PPOConfig(
            output_dir=folder, per_device_train_batch_size=micro, gradient_accumulation_steps=batch // micro,
            num_mini_batches=1, num_ppo_epochs=given["epochs"], total_episodes=batch * given["steps"],
            response_length=world.response_length, stop_token="eos" if world.mean_length else None, temperature=1.0,
            learning_rate=given["lr"], lr_scheduler_type="linear", local_rollout_forward_batch_size=64,
            num_sample_generations=0, report_to="none", bf16=False, use_cpu=True, gradient_checkpointing=False,
            missing_eos_penalty=None, kl_coef=given["kl_coef"], save_strategy="no", disable_tqdm=True,
            logging_steps=1, seed=world.seed,
        )  # fmt: skip
        trainer = PPOTrainer(
            args=config, processing_class=tokenizer, model=policy, ref_model=copy.deepcopy(policy),
            reward_model=make_scorer(world, seed=7), value_model=value_model,
            train_dataset=Dataset.from_dict({"input_ids": make_prompts(world)}),
        )  # fmt: skip
        trainer.accelerator.backward = timed("backward", trainer.accelerator.backward)
        updates = 0

        def count(*_: Any) -> None:
            nonlocal updates
            updates += 1

        getattr(trainer.optimizer, "optimizer", trainer.optimizer).register_step_post_hook(count)
        trainer.add_callback(Mark())
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
    steps = [
        {"seconds": after - before, "phases": phases} for (before, _), (after, phases) in itertools.pairwise(marks)
    ]
    print(
        json.dumps(
            {
                "steps": steps, "optimizer_updates_per_step": updates / len(marks),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "scores": [row["objective/scores"] for row in metrics if "objective/scores" in row],
                "versions": {"trl": trl.__version__, "transformers": transformers.__version__},
            }
        )
    )  # fmt: skip


def replace_reward(world: World) -> None:
    """The count instead of the reward model's score; the value model stays a model."""
    inner = ppo_trainer.get_reward

    def get_reward(model: Any, query_responses: torch.Tensor, pad_id: int, context_length: int) -> Any:
        if getattr(model, "is_value_model", False):
            return inner(model, query_responses, pad_id, context_length)
        scores = []
        for row in query_responses[:, context_length:].tolist():
            ends = row.index(EOS) if EOS in row else len(row)
            scores.append(count_reward([token for token in row[:ends] if token != PAD], world=world))
        return None, torch.tensor(scores), torch.zeros(len(scores), dtype=torch.long)

    ppo_trainer.get_reward = get_reward


if __name__ == "__main__":
    sys.exit(main())
