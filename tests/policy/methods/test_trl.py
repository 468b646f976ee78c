"""TRL's border: what TRL's trainers leave changed is put back."""

from __future__ import annotations

import copy
from typing import Any

from rlaif.models.weights.loading import LoadedModel
from rlaif.policy.methods.trl import unchanged_forward


def test_the_forward_that_trl_sets_in_a_model_is_taken_away_again(base: LoadedModel) -> None:
    from trl.trainer.utils import add_fused_lm_head

    model: Any = copy.deepcopy(base.model)
    with unchanged_forward(model):
        add_fused_lm_head(model)
        assert "forward" in vars(model), "TRL no longer does so: unchanged_forward can go"
    assert "forward" not in vars(model)


def test_a_forward_that_was_set_before_is_kept_also_where_training_fails(base: LoadedModel) -> None:
    model: Any = copy.deepcopy(base.model)
    own = model.forward = model.forward
    try:
        with unchanged_forward(model):
            model.forward = None
            raise ValueError
    except ValueError:
        assert vars(model)["forward"] is own
