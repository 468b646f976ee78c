"""These tests run a real vLLM, which has an environment of its own: `make test-heavy` makes .venv-vllm and uses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlaif.models.vllm.process import installed_version

os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if installed_version() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs vLLM: `make test-vllm`"))
