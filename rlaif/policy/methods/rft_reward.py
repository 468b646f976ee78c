"""The reward model that RFT leaves beside its policy: its folder, and the card that is its README.

It is written as a stage's reward model is, so that it can be loaded, used as a reward and evaluated later. Trains
nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from rlaif.config.rft import RftConfig
from rlaif.files.atomic import replace_directory
from rlaif.models.weights.loading import LoadedModel
from rlaif.models.weights.saving import write_model
from rlaif.reward_model.model import with_pad_token

FOLDER = "reward_model"
"""In the method's folder."""


def save_reward(
    model: PreTrainedModel,
    *,
    base: LoadedModel,
    folder: Path,
    config: RftConfig,
    metrics: Mapping[str, float],
    start_rewards: Sequence[float],
) -> Path:
    """Write the model's folder in the method's folder, replacing it as a whole.

    metrics: those of the reward model's last steps. start_rewards: of the starting policy's responses.
    """
    model.config.reward_mean = statistics.fmean(start_rewards)
    model.config.reward_std = statistics.pstdev(start_rewards)
    out_dir = folder / FOLDER
    with replace_directory(out_dir) as part:
        write_model(model, with_pad_token(base.tokenizer, model.config.pad_token_id), part)
        card = _render(base, config=config, metrics=metrics, model=model)
        (part / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return out_dir


def _render(base: LoadedModel, *, config: RftConfig, metrics: Mapping[str, float], model: PreTrainedModel) -> str:
    numbers = "".join(f"| {name} | {value:.4g} |\n" for name, value in metrics.items())
    return f"""---
# license: name the licence here before you publish this folder
library_name: transformers
pipeline_tag: text-classification
tags: [reward-model, rlaif, rft]
---

# Reward model of RFT

Scores a response to a conversation: the raw logit is the reward, read at the token that ends the response.
Trained on demonstrations above the policy's own responses, in {config.num_alternations} alternations with the policy.
No pair of responses was held out, so no accuracy is known. While the policy was trained on it, the reward was bounded
softly to {config.reward_range / 2:g} on either side; the logit here is not.

| | |
| --- | --- |
{numbers}| reward of the starting policy's responses | mean {model.config.reward_mean:.4f}, \
standard deviation {model.config.reward_std:.4f} |
| base model | `{base.fingerprint.id}`, weights `{base.fingerprint.weights}` |

The metrics are those of the last alternation. `reward_mean` and `reward_std` in config.json standardise the reward.
"""
