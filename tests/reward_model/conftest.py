"""A tiny random chat model as base, and preferences that it can learn: a reply that says please wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import SIMPLE_TEMPLATE, build_family

from rlaif.config.reward_model import RewardModelConfig
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.records import Message, PreferenceRow, Prompt

LoadFamily = Callable[[str], LoadedModel]

PLACES = (
    "museum",
    "library",
    "garden",
    "tower",
    "market",
    "harbour",
    "station",
    "theatre",
    "castle",
    "school",
)


@pytest.fixture(scope="session")
def load_family(tmp_path_factory: pytest.TempPathFactory) -> LoadFamily:
    loaded: dict[str, LoadedModel] = {}

    def load(name: str) -> LoadedModel:
        if name not in loaded:
            template = SIMPLE_TEMPLATE if name == "byte_bpe_no_template" else None
            folder: Path = build_family(name, tmp_path_factory.mktemp(name) / name, chat_template=template)
            loaded[name] = load_causal_lm(str(folder), device="cpu")
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def base(load_family: LoadFamily) -> LoadedModel:
    torch.set_num_threads(1)
    return load_family("llama3")


def make_rows(places: tuple[str, ...], *, label: float = 0.95) -> list[PreferenceRow]:
    return [
        PreferenceRow(
            prompt=Prompt(messages=(Message(role="user", content=f"Where is the {place}?"),)),
            chosen=f"{start}, this way please",
            rejected=f"{start}, find it yourself",
            label=label,
        )
        for place in places
        for start in ("Well", "Hello", "Oh")
    ]


@pytest.fixture(scope="session")
def train_rows() -> list[PreferenceRow]:
    return make_rows(PLACES[:7])


@pytest.fixture(scope="session")
def test_rows() -> list[PreferenceRow]:
    return make_rows(PLACES[7:])


@pytest.fixture
def config() -> RewardModelConfig:
    return RewardModelConfig(batch_size=6, num_epochs=3, learning_rate=5e-3, checkpoint_every=3)
