"""Options of the reward model and its training.

The defaults suit a language model of ordinary size; the values for the front desk are in resolve.py. Does not read
files.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from rlaif.config.base import FOLLOWS_POLICY, Config, refuse_idle
from rlaif.config.models import MAX_TOKENS

_OF_STEPS = (
    "batch_size", "micro_batch_size", "warmup_fraction", "weight_decay", "max_grad_norm", "checkpoint_every", "keep",
)  # fmt: skip
"""Options of a training by steps. `num_epochs` and `learning_rate` are of them too, but get values by themselves."""


class RewardModelConfig(Config):
    """The reward model: the policy's own trunk with a scalar head, trained on soft labels."""

    preferences: str | None = None
    """Preference folder, file or hub id (HH-RLHF too) to train on; null: this run's own preferences."""
    split: str | None = None
    """Split of `preferences` to train on, such as `train_prefs`, or `SUBSET/SPLIT`; join several by `+`. The test split
    of the same name, here `test_prefs`, is held out if there is one. null: `train`, with `test` held out."""
    max_odd_rows: int = Field(0, ge=0, le=1_000_000_000)
    """Most rows of each split of `preferences` that may be left out because they cannot be read; they are counted as
    `odd`."""
    train: Literal["all", "last_layers", "readout"] = "all"
    """Which weights are trained. all: every one. last_layers: the upper num_layers layers, what comes after them and
    the head. readout: a linear read-out of the mean of all tokens' states, fitted after one pass through the model; the
    last layer's attention is made to compute that mean. It takes no steps, so only max_length,
    center_rewards_coefficient, label_smoothing and human_weight of the options below count. It is the cheapest, and
    learns most from few pairs."""
    num_layers: int = Field(2, ge=0, le=10_000)
    """With train: last_layers, how many layers are trained, counted from the top. 0: the final norm and the head."""
    cache_trunk: bool = True
    """With train: last_layers, compute the lower layers once for each response and keep their output in memory. false:
    less memory, and they are computed in each step. Several processes never keep it."""
    max_cache_gb: float = Field(4.0, ge=0, le=100_000)
    """Most memory for the lower layers' output, in GB; where more is needed, a line says so and they are computed in
    each step. 1,000 tokens take 2.3 MB where states have 576 numbers."""
    num_epochs: Annotated[int, FOLLOWS_POLICY] = Field(1, ge=1, le=10_000)
    """Passes over the training pairs. null: 3 for the front desk's policy, 1 for any other, since larger models
    memorise the pairs in a second pass."""
    learning_rate: Annotated[float, FOLLOWS_POLICY] = Field(1e-5, gt=0, le=1)
    """Peak learning rate of AdamW. null: 1e-3 for the front desk's policy, 1e-5 for any other; 5e-6 to 2e-5 is
    usual."""
    batch_size: int = Field(32, ge=1, le=100_000)
    """Pairs per optimizer step; the pairs of a prompt follow one another."""
    micro_batch_size: int | None = Field(None, ge=1, le=100_000)
    """Pairs per forward pass, fewer to save memory; null: the whole batch. The result does not depend on it."""
    max_length: int = Field(1024, ge=2, le=MAX_TOKENS)
    """Longest prompt and response together, in tokens; longer pairs are dropped and counted, never cut."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; then it falls linearly to zero."""
    weight_decay: float = Field(0.01, ge=0, le=100)
    """AdamW's weight decay."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e12)
    """Largest norm of the gradient; a larger gradient is scaled down to it. 1 is usual."""
    center_rewards_coefficient: float = Field(0.01, ge=0, le=1000)
    """Weight of a penalty on the squared sum of a pair's rewards, which keeps rewards near zero; 0: no penalty."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of every training label that is spread evenly over the responses it is about: .1 makes .95 of a certain
    label of a pair. It keeps rewards from growing without bound on hard labels, and takes no leaning out of a judge's.
    Held-out labels and ratings stay. 0: none; up to .1 is usual."""
    human_weight: Literal["as_given", "cross_validated", "corrected"] = "as_given"
    """How much rows of people count beside those of a judge. as_given: as their weight says, which is
    human.weight in a run. cross_validated: 1, 5 or 20 each, whichever predicts people's choices best on prompts
    left out. A linear read-out of the base model decides, after one pass through it. Needs people's rows on 10
    prompts; with fewer, a line says so and their own weights count. corrected: one way more is tried. The judge's
    labels are moved by what people's rows differ in from the judge, in a few coordinates of the base's states, and
    people's rows count 5 each. Not with length_bias."""
    length_bias: Literal["kept", "judge_rows", "all_rows"] = "kept"
    """What becomes of the labels' leaning to longer responses. kept: the rewards learn it. judge_rows: a leaning, in
    log-odds per token, is fitted to all rows but people's beside the rewards, and is in no reward; people's rows then
    say what length is worth. all_rows: it is fitted to people's rows too, and no reward learns what rises with length
    in a straight line. Ratings and thumbs are learnt as they are. The head begins at zero, since a random one leans
    too."""
    keep: Literal["last", "best"] = "last"
    """Which weights of a training by steps are kept. last: those after its last step. best: those after the step that
    predicts people's choices best (least log loss) on prompts that are left out of the training; where people's rows
    are on fewer than 10 of these prompts, the judge's rows count too. With fewer than 10 prompts to leave out a line
    says so, and the last weights are kept. All steps are made in any case."""
    validation_fraction: float = Field(0.1, gt=0, le=0.5)
    """With keep: best, share of the prompts that is left out: of those that people labelled, and of the others. The
    held-out prompts, by which the finished model is measured, are apart from both."""
    num_validations: int = Field(10, ge=1, le=100_000)
    """With keep: best, how often in a training the prompts left out are measured, at even distances."""
    num_members: int = Field(1, ge=1, le=64)
    """Reward models that are trained on the same preferences with different seeds, one after the other. Their mean is
    the reward, unless ppo.rewards says otherwise, and how far they differ is logged. 4 or 5 are usual; 1: a single
    one."""
    bootstrap: bool = False
    """With several members: each is trained on as many prompts drawn with replacement. Needed for train: readout, whose
    fit depends on no seed."""
    checkpoint_every: int = Field(50, ge=1, le=1_000_000)
    """Optimizer steps between checkpoints; training that was killed continues from the last one."""

    @model_validator(mode="after")
    def _a_split_is_of_given_preferences(self) -> Self:
        if self.split is not None and self.preferences is None:
            raise ValueError("a split is given and no preferences: name them by reward_model.preferences")
        return self

    @model_validator(mode="after")
    def _options_do_something(self, info: ValidationInfo) -> Self:
        if self.train == "readout":
            refuse_idle(self, dict.fromkeys(_OF_STEPS, ()), when="with train: readout, which takes no steps", info=info)
        if self.human_weight == "corrected" and self.length_bias != "kept":
            raise ValueError("human_weight: corrected and length_bias both take leanings out: say one of them")
        if self.num_members == 1:
            refuse_idle(self, {"bootstrap": ()}, when="with num_members: 1", info=info)
        elif self.train == "readout" and not self.bootstrap:
            raise ValueError("num_members with train: readout gives as many equal models: say `bootstrap: true`")
        if self.keep != "best":
            idle = {"validation_fraction": (), "num_validations": ()}
            refuse_idle(self, idle, when=f"with keep: {self.keep}; it is for keep: best", info=info)
        if self.train != "last_layers":
            idle = {"num_layers": (), "cache_trunk": (), "max_cache_gb": ()}
            refuse_idle(self, idle, when=f"with train: {self.train}; it is for train: last_layers", info=info)
        elif not self.cache_trunk:
            refuse_idle(self, {"max_cache_gb": ()}, when="with cache_trunk: false", info=info)
        return self
