"""KTO: single responses, each good or bad -> a policy that says the good ones, by TRL's KTOTrainer.

Ethayarajh et al. 2024 (arXiv:2402.01306), eq. 7 and 8: the loss of a good response is
lambda_D (1 - sigmoid(beta (rho - z0))), of a bad one lambda_U (1 - sigmoid(beta (z0 - rho))), with rho as in DPO, and
z0 the mean of rho over mismatched responses of the batch, at least 0, without gradient. All mass goes to responses that
are good in more than lambda_U / (lambda_D + lambda_U) of their thumbs: KTO does not recover a reward, as DPO does.

What TRL gets wrong, and what is done about it: it takes the batches in the data's own order in every pass (the turns
are shuffled for each); it sets a prompt beside the response of the row before, which may answer the same prompt, and in
a batch of one its own (responses are matched here, with another prompt where the batch has one, and a last batch of one
gets a second row). z0 and the mean of the losses are those of a micro-batch. Keeps no checkpoint: an interrupted
training starts again from its beginning. Saves no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from rlaif.config.by_preferences import KtoConfig
from rlaif.config.run import RunConfig
from rlaif.policy.methods.by_preferences import Encoded, check_one_process, count_steps, encode_for
from rlaif.policy.methods.trl import Trainable, train_by_trl, unchanged_forward
from rlaif.policy.preference_items import Item, Turn, find_thumbs, order_turns
from rlaif.policy.task import Task, TrainedPolicy

_LOGGED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "kl": "mismatched_kl",
    "rewards/margins": "margin",
    "rewards/chosen": "reward_good",
    "rewards/rejected": "reward_bad",
    "entropy": "entropy",
}
"""TRL's names of figures -> ours. mismatched_kl: z0."""


def check_kto(config: RunConfig, num_processes: int) -> None:
    """Refuse more than one process."""
    check_one_process("kto", num_processes)


def count_kto_steps(task: Task) -> int:
    """Steps if every response fits; those that do not are dropped when training begins."""
    config = task.config.kto
    found = find_thumbs(task.preferences, labels=config.labels)
    return count_steps(_order(found.items, config, seed=task.seed), config)


def train_kto_task(task: Task) -> TrainedPolicy:
    """KTO of the task's initial policy against its reference."""
    config = task.config.kto
    found = find_thumbs(task.preferences, labels=config.labels)
    encoded = encode_for(task.initial, found, config=config, name="kto")
    turns = _order(encoded.items, config, seed=task.seed)
    columns = arrange_thumbs(encoded, turns, batch_size=config.micro_batch_size or config.batch_size)
    data = Trainable(columns, count_steps(turns, config), encoded.tally)
    with unchanged_forward(task.start.model):
        return train_by_trl(
            task.initial,
            data,
            make_trainer=partial(make_trainer, config=config, reference=task.start.model),
            config=config,
            logged=_LOGGED,
            where="kto",
            seed=task.seed,
            listener=task.listener,
        )


def _order(items: Sequence[Item], config: KtoConfig, *, seed: int) -> list[Turn]:
    """All passes; where the last turn would be alone in its batch, the first one comes once more beside it."""
    turns = order_turns(items, num_epochs=config.num_epochs, labels=config.labels, seed=seed)
    is_alone = len(turns) % (config.micro_batch_size or config.batch_size) == 1
    return [*turns, turns[0]] if is_alone else turns


def arrange_thumbs(encoded: Encoded, turns: Sequence[Turn], *, batch_size: int) -> dict[str, list[Any]]:
    """TRL's columns of the turns, in their order. batch_size: of a forward pass, within which responses are matched."""
    columns: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": [], "KL_completion_ids": [], "label": []}
    for start in range(0, len(turns), batch_size):
        batch = turns[start : start + batch_size]
        prompts = [encoded.items[turn.place].prompt.id for turn in batch]
        for turn, other in zip(batch, mismatch(prompts), strict=True):
            columns["prompt_ids"].append(encoded.prompt_ids[turn.place])
            columns["completion_ids"].append(encoded.response_ids[turn.place][0])
            columns["KL_completion_ids"].append(encoded.response_ids[batch[other].place][0])
            columns["label"].append(turn.is_first)
    return columns


def mismatch(prompts: Sequence[str]) -> list[int]:
    """Of each row of a batch the row whose response its prompt is set beside to estimate z0.

    The nearest one before, as in TRL, but of another prompt; the one before where all rows have the same prompt.
    """
    size = len(prompts)
    found = []
    for place, prompt in enumerate(prompts):
        before = [(place - back) % size for back in range(1, size)]
        found.append(next((row for row in before if prompts[row] != prompt), before[0] if before else place))
    return found


def make_trainer(
    *, arguments: Mapping[str, Any], config: KtoConfig, reference: PreTrainedModel, model: PreTrainedModel, **given: Any
) -> Any:
    """TRL's trainer of `model` against `reference`, on token ids as they are."""
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer
    from trl.trainer.utils import disable_dropout_in_model

    class Trainer(KTOTrainer):
        def _send_telemetry(self) -> None:
            """Send nothing."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            """Leave the token ids as they are."""
            return dataset

    disable_dropout_in_model(model)  # TRL's own option would change the reference too, which is in evaluation mode
    args = KTOConfig(
        **arguments,
        num_train_epochs=1,  # the turns hold all passes
        train_sampling_strategy="sequential",
        beta=config.beta,
        desirable_weight=config.desirable_weight,
        undesirable_weight=config.undesirable_weight,
        disable_dropout=False,
    )
    return Trainer(model=model, ref_model=reference, args=args, **given)
