"""A tiny real model for every test of a method."""

from __future__ import annotations

import pytest
import torch
from families import build_family

from rlaif.models.weights.loading import LoadedModel, load_causal_lm


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.set_num_threads(1)
    return load_causal_lm(str(build_family("llama3", tmp_path_factory.mktemp("base") / "llama3")), device="cpu")
