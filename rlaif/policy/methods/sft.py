"""SFT: demonstrations -> a policy fine-tuned on them, by TRL's SFTTrainer.

Loss on the response and on the token that ends it, never on the prompt; the tokens are those of sampling and
PPO. Keeps no checkpoint: an interrupted training starts again from its beginning. Saves no model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from rlaif.config.run import RunConfig
from rlaif.config.sft import SftConfig
from rlaif.errors import ConfigError, DataError, StageError
from rlaif.models.tokens.prompt_tokens import PromptEncoder
from rlaif.models.weights.context import context_tokens_of, describe_length_bound
from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.trl import Trainable, train_by_trl
from rlaif.policy.task import Task, TrainedPolicy
from rlaif.records import Demonstration, Prompt, Tally
from rlaif.training.listener import NOBODY, Listener

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
    num_steps = config.num_epochs * math.ceil(len(examples.token_ids) / config.batch_size)
    columns = {"input_ids": examples.token_ids, "labels": examples.labels}
    return train_by_trl(
        base,
        Trainable(columns, num_steps, examples.tally),
        make_trainer=partial(_make_trainer, config=config),
        config=config,
        logged=_LOGGED,
        where="sft",
        seed=seed,
        listener=listener,
    )


def _make_trainer(*, arguments: Mapping[str, Any], config: SftConfig, **given: Any) -> Any:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Trainer(SFTTrainer):
        def _send_telemetry(self) -> None:
            """Send nothing."""

    skips = {"skip_prepare_dataset": True}
    return Trainer(args=SFTConfig(**arguments, num_train_epochs=config.num_epochs, dataset_kwargs=skips), **given)
