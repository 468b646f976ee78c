"""SFT: demonstrations -> a policy fine-tuned on them, by TRL's SFTTrainer.

Loss on the response and on the token that ends it, never on the prompt; the tokens are those of sampling and
PPO. Keeps no checkpoint: an interrupted training starts again from its beginning. Saves no model.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback

from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, DataError, StageError, TrainingError
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.context import context_tokens_of, describe_length_bound
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Demonstration, Prompt, Tally
from rlaif.training.listener import NOBODY, Listener, StepMetrics

FIRST_STEP = 1
IGNORED = -100
"""Label of a token without loss, as in torch's cross-entropy."""
_LOGGED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "mean_token_accuracy": "token_accuracy",
}
"""TRL's names of figures -> ours."""


class Examples(NamedTuple):
    token_ids: list[list[int]]
    labels: list[list[int]]
    """`IGNORED` on the prompt's tokens; the response's tokens and its end token are learnt."""
    tally: Tally
    """Dropped: `over_length`, `empty`."""
    places: list[int]
    """Places of the kept demonstrations among those given."""


def check_sft(config: RunConfig, num_processes: int) -> None:
    """Refuse options without demonstrations, and more than one process."""
    if config.sft.demonstrations is None:
        raise ConfigError("there are no demonstrations", where="sft.demonstrations", fix="name a file of them")
    if num_processes > 1:
        raise ConfigError(
            "demonstrations are learnt in one process",
            where="sft.demonstrations",
            fix="run `rlaif train --stage sft` without the launcher first",
        )


def count_sft_steps(task: Task) -> int:
    """Steps if every demonstration fits; those that do not are dropped when training begins."""
    config = task.config.sft
    return math.ceil(len(task.demonstrations) * config.num_epochs / config.batch_size)


def train_sft_task(task: Task) -> TrainedPolicy:
    """SFT of the task's initial policy."""
    return train_sft(
        base=task.initial,
        demonstrations=task.demonstrations,
        config=task.config.sft,
        seed=task.seed,
        listener=task.listener,
    )


def encode_demonstrations(
    demonstrations: Sequence[tuple[Prompt, Demonstration]], *, encoder: PromptEncoder, max_length: int
) -> Examples:
    """Token ids and labels. A demonstration that does not fit is dropped and counted: a cut one would never end."""
    examples = Examples([], [], Tally(num_in=len(demonstrations)), [])
    dropped: Counter[str] = Counter()
    for place, (prompt, demonstration) in enumerate(demonstrations):
        prompt_ids = encoder.encode(prompt.as_segments())
        if not encoder.shows_whole(demonstration.response):
            raise DataError(
                "the chat template leaves out part of a demonstration, such as its reasoning",
                where=f"prompt {prompt.id}",
                fix="take that part out of the response, or let chat_template.jinja show all of the last answer",
            )
        response_ids = encoder.encode_response(encoder.strip_answer(demonstration.response))
        if not demonstration.response.strip():
            dropped["empty"] += 1
        elif len(prompt_ids) + len(response_ids) > max_length:
            dropped["over_length"] += 1
        else:
            examples.token_ids.append([*prompt_ids, *response_ids])
            examples.labels.append([*([IGNORED] * len(prompt_ids)), *response_ids])
            examples.places.append(place)
    return examples._replace(tally=Tally(num_in=len(demonstrations), dropped=dict(dropped)))


def train_sft(
    *,
    base: LoadedModel,
    demonstrations: Sequence[tuple[Prompt, Demonstration]],
    config: SftConfig,
    seed: int,
    listener: Listener = NOBODY,
) -> TrainedPolicy:
    """Fine-tune a copy of `base`, in float32, and return the copy."""
    context = context_tokens_of(base.model) or config.max_length
    limit = min(config.max_length, context)
    examples = encode_demonstrations(demonstrations, encoder=base.encoder, max_length=limit)
    if not examples.token_ids:
        raise StageError(
            f"there is no demonstration to learn from: {examples.tally}",
            where="sft.demonstrations",
            fix=describe_length_bound("sft.max_length", max_length=config.max_length, context=context)
            if examples.tally.dropped.get("over_length")
            else "give demonstrations with responses",
        )
    model: Any = copy.deepcopy(base.model)  # Any: transformers' own annotations hide to() and eval()
    model.to(torch.float32)
    listener.on_begin(FIRST_STEP)
    losses = _run_trainer(model, base, examples, config=config, seed=seed, listener=listener)
    # The trainer changes both configs to fit its tokenizer; the base says what ends a response.
    model.config = copy.deepcopy(base.model.config)
    model.generation_config = copy.deepcopy(base.model.generation_config)
    tenth = max(1, len(losses) // 10)
    metrics = {
        "first_loss": statistics.fmean(losses[:tenth]),
        "last_loss": statistics.fmean(losses[-tenth:]),
        "num_steps": float(len(losses)),
    }
    return TrainedPolicy(model=model.eval(), steps=len(losses), metrics=metrics, tally=examples.tally)


def _run_trainer(
    model: PreTrainedModel,
    base: LoadedModel,
    examples: Examples,
    *,
    config: SftConfig,
    seed: int,
    listener: Listener,
) -> list[float]:
    """Train `model` in place, and return the loss of each step."""
    import datasets
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Trainer(SFTTrainer):
        def _send_telemetry(self) -> None:
            """Send nothing."""

    micro_batch_size = config.micro_batch_size or config.batch_size
    num_steps = config.num_epochs * math.ceil(len(examples.token_ids) / config.batch_size)
    watcher = _Watcher(listener)
    # subtle: the trainer seeds torch's global generator; what runs afterwards must not depend on that.
    with TemporaryDirectory(prefix="rlaif-sft-") as scratch, torch.random.fork_rng(devices=[]):
        args = SFTConfig(
            output_dir=scratch,
            num_train_epochs=config.num_epochs,
            per_device_train_batch_size=micro_batch_size,
            gradient_accumulation_steps=config.batch_size // micro_batch_size,
            learning_rate=config.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=int(num_steps * config.warmup_fraction),
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            max_length=None,
            gradient_checkpointing=config.gradient_checkpointing,
            bf16=False,
            use_cpu=model.device.type == "cpu",
            dataset_kwargs={"skip_prepare_dataset": True},
            seed=seed,
            logging_strategy="steps",
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=datasets.Dataset.from_dict({"input_ids": examples.token_ids, "labels": examples.labels}),
            processing_class=copy.deepcopy(base.tokenizer),
            callbacks=[watcher],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return watcher.losses


class _Watcher(TrainerCallback):
    """Reports each step's figures to the listener, and stops at a loss that is not finite."""

    def __init__(self, listener: Listener) -> None:
        self.losses: list[float] = []
        self._listener = listener

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                "the loss is not finite",
                where=f"sft, step {state.global_step}",
                fix="lower sft.learning_rate, or look for broken weights in the model it starts from",
            )
        self.losses.append(logs["loss"])
        figures = {ours: logs[theirs] for theirs, ours in _LOGGED.items() if theirs in logs}
        self._listener.on_metrics(StepMetrics(state.global_step, figures))
