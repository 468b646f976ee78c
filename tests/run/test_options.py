"""What a run holds to: options of begun stages are held, others taken over, each named with its old and new value."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.config.run import RunConfig
from rlaif.errors import RunFolderError
from rlaif.run.folder import RunFolder, create_run
from rlaif.run.options import find_changes, refuse_contradictions, update_config
from rlaif.run.stages import EVALUATION, JUDGEMENTS, PREFERENCES, PROMPTS, SAMPLES

INPUTS = {"constitution": "a" * 64, "judge.template": "b" * 64}


def config_with(**options: Any) -> dict[str, Any]:
    config = RunConfig().model_dump(mode="json")
    for name, value in options.items():
        group, _, key = name.partition("__")
        config[group] = {**config[group], key: value} if key else value
    return {"config": config, "inputs": INPUTS}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Stopped while it judged."""
    run = create_run(tmp_path, "a", resume=False, config=config_with())
    for stage in (PROMPTS, SAMPLES, JUDGEMENTS):
        run.stage_dir(0, stage).mkdir(parents=True)
    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"sampling__temperature": 0.5}, "sampling.temperature: 1.0 -> 0.5"),
        ({"judge__batch_tokens": 77}, "judge.batch_tokens: "),
        ({"constitution": "other"}, 'constitution: "courteous_and_brief" -> "other"'),
        ({"preset": "cai"}, 'preset: null -> "cai"'),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_an_option_of_a_begun_stage_is_refused_with_its_old_and_new_value(
    run: RunFolder, options: dict[str, Any], words: str, resume: bool
) -> None:
    with pytest.raises(RunFolderError, match="put them back, or start a new run") as raised:
        update_config(run.path, config_with(**options), resume=resume)
    assert words in raised.value.sentence
    assert run.config == config_with()


@pytest.mark.parametrize(
    ("group", "name", "stored"),
    [
        ("ppo", "rewards", [{"judge": True, "weight": 1.0}]),
        ("judge", "panel", [{"model": {"path": "other", "engine": None}, "weight": 1.0}]),
    ],
)
def test_an_option_of_a_list_that_an_older_version_did_not_know_had_its_default(
    group: str, name: str, stored: list[dict[str, Any]]
) -> None:
    whole = RunConfig.model_validate({group: {name: stored}}).model_dump(mode="json")[group][name]
    old, new = (config_with(**{f"{group}__{name}": rows}) for rows in (stored, whole))
    assert find_changes(old, new) == []
    whole[0]["weight"] = 2.0
    assert [change.key for change in find_changes(old, new)] == [f"config.{group}.{name}.0.weight"]


def test_a_check_beforehand_refuses_what_the_update_would_and_changes_nothing(run: RunFolder) -> None:
    with pytest.raises(RunFolderError, match=r"\(seed: 0 -> 1\)"):
        refuse_contradictions(run.path, RunConfig(seed=1))
    refuse_contradictions(run.path, RunConfig(rounds=3))
    assert run.config == config_with()


@pytest.mark.parametrize("resume", [True, False])
def test_an_option_of_a_stage_that_has_not_begun_is_taken_over_with_a_line(
    run: RunFolder, resume: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = config_with(ppo__kl_coef=0.5, rounds=3)
    update_config(run.path, changed, resume=resume)
    assert run.config == changed
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"ppo.kl_coef: {RunConfig().ppo.kl_coef} -> 0.5, from now on", "rounds: 1 -> 3, from now on"]


def test_an_edited_file_of_a_begun_stage_is_refused_and_one_of_a_later_stage_is_not(run: RunFolder) -> None:
    edited = {**config_with(), "inputs": {**INPUTS, "constitution": "c" * 64}}
    with pytest.raises(RunFolderError, match="the contents of constitution: aaaaaaaaaaaa -> cccccccccccc"):
        update_config(run.path, edited)
    labelled = {**config_with(), "inputs": {**INPUTS, "human_labels": {"file": "d" * 64}}}
    update_config(run.path, labelled)
    assert run.config == labelled


def test_labels_may_come_late_by_train_and_not_when_their_own_stage_is_resumed(run: RunFolder) -> None:
    run.stage_dir(0, PREFERENCES).mkdir()
    labelled = {**config_with(), "inputs": {**INPUTS, "human_labels": {"file": "d" * 64}}}
    with pytest.raises(RunFolderError, match="human_labels"):
        update_config(run.path, labelled, resume=True)
    update_config(run.path, labelled)


def test_what_is_no_option_stays_in_the_file(run: RunFolder) -> None:
    noted = {"path": "rlaif.yaml", "options": {"seed": 0}}
    update_config(run.path, {**config_with(), "file": noted})
    update_config(run.path, config_with(rounds=2))
    assert run.config["file"] == noted


def test_an_option_that_an_older_rlaif_did_not_know_had_its_default(run: RunFolder) -> None:
    older = json.loads(json.dumps(config_with()))
    del older["config"]["judge"]["max_attempts"], older["config"]["evaluation"]
    assert find_changes(older, config_with()) == []
    (change,) = find_changes(older, config_with(judge__max_attempts=9))
    assert str(change) == f"judge.max_attempts: {RunConfig().judge.max_attempts} -> 9"


def test_recorded_verdicts_hold_no_judge_until_one_is_asked(tmp_path: Path) -> None:
    inputs = {"recorded": {"s.csv": "e" * 64}}
    run = create_run(tmp_path, "r", resume=False, config={**config_with(), "inputs": inputs})
    for stage in (PROMPTS, SAMPLES, JUDGEMENTS, PREFERENCES):
        run.stage_dir(0, stage).mkdir(parents=True)
    update_config(run.path, {**config_with(judge__batch_tokens=77), "inputs": inputs})
    run.stage_dir(0, EVALUATION).mkdir()
    with pytest.raises(RunFolderError, match="judge.batch_tokens: 77 -> 78"):
        update_config(run.path, {**config_with(judge__batch_tokens=78), "inputs": inputs})
