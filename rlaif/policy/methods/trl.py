"""TRL's border: the only file that knows how a trainer of TRL 1.16 is called, and what has to be put right around it.

What TRL gets wrong for us, each of it kept out here or in the method's own file, with a test:
- DPO and KTO tokenise text by themselves, so that text of a model could become a control token, and cut what is too
  long; they are given token ids, and nothing is prepared, cut or sorted by TRL.
- They change a model's `forward` and leave it changed, the reference's too; both are put back.
- All trainers change the model's configuration and the global random state; both are put back. A loss that is not
  finite does not stop them; it does here, and the step is named.
- All compute log-probabilities from the output layer's weights, past an adapter on it; such an adapter is refused.
- KTO takes the mean of its losses without those that are not a number (`nanmean`), so one broken response in a batch
  goes unseen; a batch of nothing else is caught.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback

from rlaif.config.by_preferences import ByPreferencesConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, TrainingError
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.learner import finish, make_learner
from rlaif.policy.task import TrainedPolicy
from rlaif.records import Tally
from rlaif.training.listener import Listener, StepMetrics

FIRST_STEP = 1


class Trainable(NamedTuple):
    """What TRL trains on."""

    columns: Mapping[str, list[Any]]
    """Token ids and labels, in the order in which they are learnt where TRL does not shuffle them."""
    num_steps: int
    tally: Tally


def train_by_trl(
    base: LoadedModel,
    data: Trainable,
    *,
    make_trainer: Callable[..., Any],
    config: SftConfig | ByPreferencesConfig,
    logged: Mapping[str, str],
    where: str,
    seed: int,
    listener: Listener,
) -> TrainedPolicy:
    """Fine-tune a copy of `base`, in float32, frozen as the options say, and return the copy.

    make_trainer: called with `model`, `train_dataset`, `processing_class`, `callbacks` and `arguments`, the options
    that all trainers share. logged: TRL's names of figures -> ours. where: the method, whose options have its name.
    """
    model = make_learner(base.model, config, seed=seed, options=where)
    refuse_adapted_head(model, where=where)
    listener.on_begin(FIRST_STEP)
    watcher = _Watcher(listener, logged=logged, where=where)
    with unchanged_forward(model):
        _run(model, base, data, make_trainer=make_trainer, config=config, seed=seed, watcher=watcher)
    # The trainer changes both configs to fit its tokenizer; the base says what ends a response.
    model.config = copy.deepcopy(base.model.config)
    model.generation_config = copy.deepcopy(base.model.generation_config)
    losses = watcher.losses
    tenth = max(1, len(losses) // 10)
    metrics = {
        "first_loss": statistics.fmean(losses[:tenth]),
        "last_loss": statistics.fmean(losses[-tenth:]),
        "num_steps": float(len(losses)),
    }
    model.eval()  # type: ignore[no-untyped-call]
    return finish(model, metrics=metrics, steps=len(losses), tally=data.tally)


def refuse_adapted_head(model: PreTrainedModel, *, where: str) -> None:
    """Raise ConfigError where the output layer has an adapter: TRL reads its weights alone, past the adapter."""
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if hasattr(output, "lora_A"):
        raise ConfigError(
            "an adapter on the output layer would never be trained",
            where=f"{where}.lora.target_modules",
            fix="leave the output layer out, or say all-linear",
        )


def _run(
    model: PreTrainedModel,
    base: LoadedModel,
    data: Trainable,
    *,
    make_trainer: Callable[..., Any],
    config: SftConfig | ByPreferencesConfig,
    seed: int,
    watcher: _Watcher,
) -> None:
    import datasets

    micro_batch_size = config.micro_batch_size or config.batch_size
    # subtle: the trainer seeds torch's global generator; what runs afterwards must not depend on that.
    with TemporaryDirectory(prefix=f"rlaif-{watcher.where}-") as scratch, torch.random.fork_rng(devices=[]):
        trainer = make_trainer(
            model=model,
            train_dataset=datasets.Dataset.from_dict(dict(data.columns)),
            processing_class=copy.deepcopy(base.tokenizer),
            callbacks=[watcher],
            arguments={
                "output_dir": scratch,
                "per_device_train_batch_size": micro_batch_size,
                "gradient_accumulation_steps": config.batch_size // micro_batch_size,
                "learning_rate": config.learning_rate,
                "lr_scheduler_type": "linear",
                "warmup_steps": int(data.num_steps * config.warmup_fraction),
                "weight_decay": config.weight_decay,
                "max_grad_norm": config.max_grad_norm,
                "max_length": None,
                "gradient_checkpointing": config.gradient_checkpointing,
                "bf16": False,
                "use_cpu": model.device.type == "cpu",
                "seed": seed,
                "logging_strategy": "steps",
                "logging_steps": 1,
                "logging_nan_inf_filter": False,
                "save_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
            },
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


@contextmanager
def unchanged_forward(*models: PreTrainedModel) -> Iterator[None]:
    """Put back what a trainer sets in the models' own `forward`."""
    before = [model.__dict__.get("forward") for model in models]
    try:
        yield
    finally:
        for model, forward in zip(models, before, strict=True):
            model.__dict__.pop("forward", None)
            if forward is not None:
                model.__dict__["forward"] = forward


class _Watcher(TrainerCallback):
    """Reports each step's figures to the listener, and stops at a loss that is not finite."""

    def __init__(self, listener: Listener, *, logged: Mapping[str, str], where: str) -> None:
        self.losses: list[float] = []
        self.where = where
        self._listener, self._logged = listener, logged

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                "the loss is not finite",
                where=f"{self.where}, step {state.global_step}",
                fix=f"lower {self.where}.learning_rate, or look for broken weights in the model it starts from",
            )
        self.losses.append(logs["loss"])
        figures = {ours: logs[theirs] for theirs, ours in self._logged.items() if theirs in logs}
        self._listener.on_metrics(StepMetrics(state.global_step, figures))
