"""`rlaif init DIR --for SITUATION`: a short configuration that `--dry-run` accepts as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from families import build_family
from typer.testing import CliRunner, Result

from rlaif.cli import app
from rlaif.cli.starter import STARTERS, Situation, write_starter
from rlaif.config.load import load_config
from rlaif.constitution.principles import load_constitution
from rlaif.errors import InputError, ModelError

RECORDED = ("--samples", "samples.jsonl", "--judgements", "verdicts.jsonl", "--columns", "columns.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "chat"
    build_family("chatml", folder)
    return folder


def rlaif(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def init(folder: Path, situation: str, *more: str) -> list[str]:
    done = rlaif("init", str(folder), "--for", situation, *more)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_your_own_model_is_trained_by_the_configuration_as_it_is_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert init(tmp_path / "own", "own-model", "--policy", "chat") == [
        *(f"wrote {tmp_path / 'own' / name}" for name in ("rlaif.yaml", "principles.yaml", "prompts.jsonl")),
        f"now: cd {tmp_path / 'own'} && rlaif run --dry-run",
    ]
    monkeypatch.chdir(tmp_path / "own")
    config = load_config(Path("rlaif.yaml"))
    assert config.policy.path == config.judge.model.path == str(model), "a folder is named from everywhere"
    done = rlaif("run", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "rewards in PPO, by the judge" in done.output
    assert "Write a long and detailed answer" in done.output, "the judge reads the principle and its opposite"
    assert not (tmp_path / "own" / "runs").exists()


def test_a_judge_behind_a_server_is_counted_and_not_asked(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(tmp_path / "api", "api-judge", "--policy", str(model))
    monkeypatch.chdir(tmp_path / "api")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert "OPENAI_BASE_URL is not set" in str(rlaif("run", "--dry-run").exception)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    done = rlaif("run", "--dry-run", "--set", "sampling.max_new_tokens=16")
    assert done.exit_code == 0, done.output
    assert "evaluation, by judge-model" in done.output


def test_the_front_desk_in_a_few_lines_is_the_default_of_rlaif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path / "desk", "front-desk")
    monkeypatch.chdir(tmp_path / "desk")
    written, default = load_config(Path("rlaif.yaml")), load_config()
    assert written.model_copy(update={"constitution": default.constitution}) == default
    principles = [(p.id, p.text, p.weight, p.tags) for p in load_constitution(written.constitution).principles]
    assert principles == [(p.id, p.text, p.weight, p.tags) for p in load_constitution(default.constitution).principles]
    done = rlaif("run", "--dry-run", "--set", "prompts.num_prompts=8")
    assert done.exit_code == 0, done.output


def test_recorded_verdicts_are_read_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = init(tmp_path / "recorded", "recorded")[-1]
    assert command == f"now: cd {tmp_path / 'recorded'} && rlaif generate-prefs {' '.join(RECORDED)} --dry-run"
    monkeypatch.chdir(tmp_path / "recorded")
    done = rlaif("generate-prefs", *RECORDED, "--dry-run")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-4:] == [
        "samples, by rows: in 8, kept 8, dropped 0; 8 prompts, 8 pairs",
        "verdicts, by rows: in 16, kept 15, dropped 1 (unparsable 1); 8 comparisons",
        "verdicts that the column map does not name: I cannot decide this. (1)",
        "nothing was written",
    ]
    assert not (tmp_path / "recorded" / "runs").exists()
    done = rlaif("generate-prefs", *RECORDED)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("situation", get_args(Situation))
def test_a_configuration_has_at_most_60_lines_and_names_every_file_beside_it(
    tmp_path: Path, model: Path, situation: Situation
) -> None:
    starter = STARTERS[situation]
    written = write_starter(tmp_path, situation=situation, policy=str(model) if starter.needs_policy else None)
    text = written[0].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert all(len(line) <= 120 for line in text.replace(str(model), "").splitlines())
    assert all(path.name in text for path in written[1:])
    assert sorted(tmp_path.iterdir()) == sorted(written)
    with pytest.raises(InputError, match=r"rlaif\.yaml, .* is already there"):
        write_starter(tmp_path, situation=situation, policy=str(model) if starter.needs_policy else None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--for", "own-model"), "own-model needs the model that is to be trained .* add --policy"),
        (("--for", "api-judge"), "api-judge needs the model that is to be trained .* add --policy"),
        (("--for", "front-desk", "--policy", "org/chat"), "front-desk has a policy already"),
        (("--policy", "org/chat"), "--policy goes with --for"),
        (("--for", "recorded", "--preset", "cai"), "--for and --preset each decide what is written"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = rlaif("init", str(tmp_path / "new"), *arguments)
    with pytest.raises(InputError, match=sentence):
        raise done.exception or AssertionError(done.output)
    assert not (tmp_path / "new").exists()


def test_a_policy_that_is_not_there_is_refused_and_a_hub_id_stands_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        write_starter(tmp_path / "new", situation="own-model", policy="./no/model")
    assert not (tmp_path / "new").exists()
    write_starter(tmp_path / "new", situation="own-model", policy="org/chat-1b")
    assert load_config(tmp_path / "new" / "rlaif.yaml").policy.path == "org/chat-1b"
