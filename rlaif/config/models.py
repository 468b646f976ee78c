"""Options of a local model: where it is and how it is computed. Reads nothing and loads nothing."""

from __future__ import annotations

from typing import Literal

from rlaif.config.base import Config

FRONTDESK = "frontdesk"
"""Stands for what comes with rlaif: the policy, the judge, the visitors' questions."""


class ModelConfig(Config):
    """A Hugging Face model with a chat template."""

    path: str = FRONTDESK
    """Model folder or hub id; `frontdesk` is the small model that comes with rlaif."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the computation."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto."""
