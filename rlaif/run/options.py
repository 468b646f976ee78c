"""Which options a run holds to: those of the parts whose stages have begun. Others are taken over, with a line each.

Compares what a run was started with and what is asked of it now. Reads no config file and runs no stage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

from typing_extensions import TypedDict

from rlaif.config.base import Config
from rlaif.config.judge import PanelJudgeConfig
from rlaif.config.methods import split_chain
from rlaif.config.ppo_rewards import RewardConfig
from rlaif.config.renamed import rename_options
from rlaif.config.run import RunConfig
from rlaif.console import say
from rlaif.errors import RunFolderError
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import json_of, read_own
from rlaif.run.stages import PREFERENCES, STAGES

_NOT_OF_RECORDED = {"prompts", "cleaning", "policy", "sampling", "judge"}
"""What recorded samples and verdicts came without: their stages hold nothing of it."""
HOW_FAR = (
    "config.rounds", "config.gates", "config.scale", "config.human.annotators",
    "config.judge.max_calls", "config.judge.max_tokens", "config.judge.max_cost",
    *(f"config.judge.endpoint.{name}" for name in (
        "base_url_env", "api_key_env", "concurrency", "max_retries", "timeout_s", "deadline_s", "requests_per_minute",
        "tokens_per_minute", "prompt_price", "reply_price", "batch_api", "batch_discount",
    )),
    *(f"config.ppo.rollout.{name}" for name in ("device", "vllm", "sleep", "server")),
)  # fmt: skip
"""Options that say how far and how fast a run goes, not what a stage does: a resumed run may have others."""
_OF_PANEL = re.compile(r"config\.judge\.panel\.\d+\.")
"""What a further judge says is held like what the first one does."""
_HOW_A_REWARD_IS_ASKED = re.compile(
    r"config\.ppo\.rewards\.\d+\.(api_key_env|batch_size|concurrency|max_retries|timeout_s)"
)
_LISTS: Mapping[str, type[Config]] = {"config.judge.panel": PanelJudgeConfig, "config.ppo.rewards": RewardConfig}
"""Lists of groups of options, and the class of such a group."""
_COMPARED = ("config", "inputs")
MAX_SHOWN, DIGITS_SHOWN = 60, 12


class Change(NamedTuple):
    """A value that is not what the run has."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        group, _, name = self.key.partition(".")
        if group == "config":
            return f"{name}: {_show(self.old)} -> {_show(self.new)}"
        return f"the contents of {name}: {_show_digest(self.old)} -> {_show_digest(self.new)}"


class _LedgerOptions(TypedDict):
    path: NotRequired[str | None]


class _Options(TypedDict):
    ledger: NotRequired[_LedgerOptions]


class _NotedFile(TypedDict):
    path: str | None
    options: dict[str, Any]


class _StoredConfig(TypedDict):
    """The layout of config.json, as far as it is read before its options are checked."""

    config: _Options
    inputs: dict[str, Any]
    file: NotRequired[_NotedFile]
    resolved: NotRequired[dict[str, Any]]
    recorded: NotRequired[list[str]]


_CONFIG = json_of(_StoredConfig)
CONFIG_FIX = "restore it from a copy, or start a new run with another --run NAME"


def read_config(run_path: Path) -> dict[str, Any]:
    """What a run's config.json holds. Raises `RunFolderError` where the file is damaged."""
    stored: dict[str, Any] = read_own(run_path / "config.json", _CONFIG, fix=CONFIG_FIX)
    stored["config"] = rename_options(stored["config"])
    if "file" in stored:
        stored["file"]["options"] = rename_options(stored["file"]["options"])
    return stored


def update_config(run_path: Path, config: Mapping[str, Any], *, resume: bool = False) -> None:
    """Take over what differs in parts whose stages have not begun, say it, and refuse what contradicts a begun one.

    config: what config.json is to hold. resume: the stages up to the preferences are done by the same command, so that
    labels cannot come late.
    """
    stored = read_config(run_path)
    for change in _find_allowed(run_path, stored, config, resume=resume):
        say(f"{change}, from now on")
    new = {**stored, **config}
    if new != stored:
        write_atomically(run_path / "config.json", json.dumps(new, indent=2))


def refuse_contradictions(run_path: Path, config: RunConfig, *, resume: bool = False) -> None:
    """Refuse the options that `update_config` would refuse. Changes nothing."""
    stored = read_config(run_path)
    asked = {"config": config.model_dump(mode="json"), "inputs": stored.get("inputs", {})}
    _find_allowed(run_path, stored, asked, resume=resume)


def _find_allowed(
    run_path: Path, stored: Mapping[str, Any], config: Mapping[str, Any], *, resume: bool
) -> list[Change]:
    """What differs, none of it in a part that is held."""
    changed = find_changes(stored, config)
    fixed = _find_fixed(run_path, stored, resume=resume)
    held = [change for change in changed if _is_held(change.key, fixed=fixed) or _changes_start(change, fixed)]
    if held:
        raise RunFolderError(
            f"stages of this run were done with other values ({'; '.join(map(str, held))})",
            where=str(run_path),
            fix="put them back, or start a new run",
        )
    return changed


def find_changes(stored: Mapping[str, Any], config: Mapping[str, Any]) -> list[Change]:
    """Options and digests of inputs that differ; an option that an older rlaif did not know had its default."""
    old, new = ({group: one.get(group, {}) for group in _COMPARED} for one in (stored, config))
    return sorted(_changes(old, new, {"config": RunConfig().model_dump(mode="json")}), key=lambda change: change.key)


def _changes(old: Any, new: Any, defaults: Any, path: str = "") -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            default = defaults.get(key) if isinstance(defaults, Mapping) else None
            yield from _changes(old.get(key, default), new.get(key), default, f"{path}.{key}" if path else str(key))
    elif path in _LISTS and isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        defaults = _LISTS[path].model_construct().model_dump(mode="json")
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, defaults, f"{path}.{number}")
    elif old != new:
        yield Change(path, old, new)


def _find_fixed(run_path: Path, stored: Mapping[str, Any], *, resume: bool) -> set[str]:
    """The parts that are held; a preset is the name of what the run began as."""
    begun = [stage for stage in STAGES if any(run_path.glob(f"round_*/{stage.folder}"))]
    is_recorded = "recorded" in stored.get("inputs", {})
    fixed = {"preset", "recorded"}
    for stage in begun:
        parts = set(stage.held)
        fixed |= parts - _NOT_OF_RECORDED if is_recorded and stage.is_recorded else parts
    return fixed | {"human", "human_labels"} if resume and PREFERENCES in begun else fixed


def _is_held(key: str, *, fixed: set[str]) -> bool:
    """Files that a run read are held like the options that name them."""
    return key.split(".")[1] in fixed and not is_how_far(key)


def _changes_start(change: Change, fixed: set[str]) -> bool:
    """Whether other methods than those that were done would train before sampling."""
    if change.key != "config.methods" or "sft" not in fixed or not change.new:
        return False
    done = split_chain(change.old).before if change.old else ("sft",)
    return split_chain(change.new).before not in (done, ())


def is_how_far(key: str) -> bool:
    return bool(_HOW_A_REWARD_IS_ASKED.fullmatch(key)) or _OF_PANEL.sub("config.judge.", key).startswith(HOW_FAR)


def _show_digest(value: Any) -> str:
    return value[:DIGITS_SHOWN] if isinstance(value, str) else "none" if value is None else _show(value)


def _show(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 3]}..."
