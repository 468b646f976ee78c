"""DPO: pairs -> a policy that prefers the preferred response of each, by TRL's DPOTrainer.

Rafailov et al. 2023 (arXiv:2305.18290), eq. 7: the loss of a pair is -log sigmoid(beta (rho_w - rho_l)), where rho is
the log-ratio of policy and reference for a whole response. On all pairs it has the optimum pi_ref exp(r / beta) / Z; on
few, responses that only ever won are pushed without bound. TRL knows neither soft labels nor weights (its sigmoid loss
ignores label_smoothing): both are put into how often, and in which order, a pair comes. Keeps no checkpoint: an
interrupted training starts again from its beginning. Saves no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from rlaif.config.by_preferences import DpoConfig
from rlaif.config.run import RunConfig
from rlaif.policy.methods.by_preferences import Encoded, check_one_process, count_steps, encode_for
from rlaif.policy.methods.trl import Trainable, train_by_trl, unchanged_forward
from rlaif.policy.preference_items import Turn, find_pairs, order_turns
from rlaif.policy.task import Task, TrainedPolicy

_LOGGED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "entropy": "entropy",
}
"""TRL's names of figures -> ours. accuracy: share of pairs whose preferred response has the higher implicit reward,
beta times rho; margin: by how much."""


def check_dpo(config: RunConfig, num_processes: int) -> None:
    """Refuse more than one process."""
    check_one_process("dpo", num_processes)


def count_dpo_steps(task: Task) -> int:
    """Steps if every pair fits; those that do not are dropped when training begins."""
    config = task.config.dpo
    found = find_pairs(task.preferences, labels=config.labels)
    return count_steps(
        order_turns(found.items, num_epochs=config.num_epochs, labels=config.labels, seed=task.seed), config
    )


def train_dpo_task(task: Task) -> TrainedPolicy:
    """DPO of the task's initial policy against its reference."""
    config = task.config.dpo
    found = find_pairs(task.preferences, labels=config.labels)
    encoded = encode_for(task.initial, found, config=config, name="dpo")
    turns = order_turns(encoded.items, num_epochs=config.num_epochs, labels=config.labels, seed=task.seed)
    data = Trainable(arrange_pairs(encoded, turns), count_steps(turns, config), encoded.tally)
    with unchanged_forward(task.start.model):
        return train_by_trl(
            task.initial,
            data,
            make_trainer=partial(make_trainer, config=config, reference=task.start.model),
            config=config,
            logged=_LOGGED,
            where="dpo",
            seed=task.seed,
            listener=task.listener,
        )


def arrange_pairs(encoded: Encoded, turns: list[Turn]) -> dict[str, list[list[int]]]:
    """TRL's columns of the turns, in their order."""
    columns: dict[str, list[list[int]]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for turn in turns:
        first, second = encoded.response_ids[turn.place]
        columns["prompt_ids"].append(encoded.prompt_ids[turn.place])
        columns["chosen_ids"].append(first if turn.is_first else second)
        columns["rejected_ids"].append(second if turn.is_first else first)
    return columns


def make_trainer(
    *, arguments: Mapping[str, Any], config: DpoConfig, reference: PreTrainedModel, model: PreTrainedModel, **given: Any
) -> Any:
    """TRL's trainer of `model` against `reference`, on token ids as they are."""
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.utils import disable_dropout_in_model

    class Trainer(DPOTrainer):
        def _send_telemetry(self) -> None:
            """Send nothing."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            """Leave the token ids as they are."""
            return dataset

    disable_dropout_in_model(model)  # TRL's own option would change the reference too, which is in evaluation mode
    args = DPOConfig(
        **arguments,
        num_train_epochs=1,  # the turns hold all passes
        train_sampling_strategy="sequential",
        beta=config.beta,
        disable_dropout=False,
    )
    return Trainer(model=model, ref_model=reference, args=args, **given)
