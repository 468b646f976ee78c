"""Short complete configurations to start from, one for each situation, with the files that they name.

`rlaif init DIR --for SITUATION` writes them. Runs nothing and loads no model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from rlaif.cli.scaffold import as_yaml, write_new
from rlaif.config.load import CONFIG_NAME
from rlaif.config.models import FRONTDESK
from rlaif.errors import InputError
from rlaif.models.weights.model_folder import check_model_path, expand_path

Situation = Literal["own-model", "api-judge", "front-desk", "recorded"]

FOLDER = Path(__file__).parent / "starters"
SHARED = FOLDER / "shared"
POLICY = "@POLICY@"
"""Stands in a configuration for the policy that the user names."""
DRY_RUN = "rlaif run --dry-run"


class Starter(NamedTuple):
    """The files that `rlaif init` writes for a situation beside the configuration, and the command that comes next."""

    files: dict[str, Path]
    needs_policy: bool = False
    takes_policy: bool = True
    command: str = DRY_RUN
    """The command to run next. It accepts the configuration as it is written."""


_ASKING = {"principles.yaml": SHARED / "principles.yaml", "prompts.jsonl": SHARED / "prompts.jsonl"}
STARTERS: dict[Situation, Starter] = {
    "own-model": Starter(_ASKING, needs_policy=True),
    "api-judge": Starter(
        _ASKING, needs_policy=True, command=f"export OPENAI_BASE_URL=... OPENAI_API_KEY=... && {DRY_RUN}"
    ),
    "front-desk": Starter(
        {"principles.yaml": FOLDER / "front-desk" / "principles.yaml"}, takes_policy=False
    ),
    "recorded": Starter(
        {name: FOLDER / "recorded" / name for name in ("columns.yaml", "samples.jsonl", "verdicts.jsonl")},
        command="rlaif generate-prefs --samples samples.jsonl --judgements verdicts.jsonl --columns columns.yaml "
        "--dry-run",
    ),
}  # fmt: skip


def write_starter(folder: Path, *, situation: Situation, policy: str | None = None) -> list[Path]:
    """Write the files and return their paths; refuses a folder that holds any of them.

    policy: a folder or a hub id.
    """
    starter = STARTERS[situation]
    if policy is None and starter.needs_policy:
        raise InputError(
            f"{situation} needs the model that is to be trained",
            where="rlaif init",
            fix="add --policy with its folder or hub id; `--for front-desk` needs none",
        )
    if policy is not None and not starter.takes_policy:
        raise InputError(
            f"{situation} has a policy already", where="--policy", fix="leave it out, or give `--for own-model`"
        )
    text = (FOLDER / situation / CONFIG_NAME).read_text(encoding="utf-8")
    named = as_yaml(_find_policy(policy))
    return write_new(folder, {CONFIG_NAME: text.replace(POLICY, named), **starter.files})


def _find_policy(policy: str | None) -> str:
    """The policy as it is named from any folder: a folder of this machine by its whole path, a hub id as it is."""
    if policy is None:
        return FRONTDESK
    if policy == FRONTDESK:
        return policy
    check_model_path(policy)
    path = expand_path(policy)
    return os.path.abspath(path) if path.exists() else policy
