"""The commands as people type them: a sentence and an exit code for every bad input, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from families import build_family
from forked import run_rlaif

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> RunCli:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    def run(*args: str, limit_file_size: int | None = None) -> subprocess.CompletedProcess[str]:
        if limit_file_size is None:
            return run_rlaif(args, cwd=tmp_path, environ=environ, timeout=120)

        def lower_limits() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_file_size, limit_file_size))

        return subprocess.run(
            [sys.executable, "-m", "rlaif", *args],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False,
            preexec_fn=lower_limits,
        )  # fmt: skip

    return run


def says(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, last


def test_a_missing_prompt_file_is_named(cli: RunCli, tmp_path: Path) -> None:
    says(cli("generate-prefs", "--set", "prompts.path=no.jsonl"), 2, "no.jsonl")
    assert not list((tmp_path / "runs").glob("*/config.json")), "the mended command finds no used run"


def test_a_users_folder_of_the_runs_name_is_refused_untouched(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    for prompts in ("no.jsonl", "frontdesk"):
        done = cli("generate-prefs", "--runs-dir", ".", "--run", "data", "--set", f"prompts.path={prompts}")
        says(done, 2, "a folder of this name is there already", "(data)", "--run NAME")
        assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]
    assert (tmp_path / "data" / "thesis.txt").read_text() == "years of work"


def test_prompts_that_are_all_empty_are_refused(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text('{"prompt": ""}\n{"prompt": "  "}\n')
    says(cli("generate-prefs", "--set", "prompts.path=empty.jsonl"), 2, "empty")


def test_a_principle_without_text_is_refused_with_its_line(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("name: c\nprinciples:\n  - id: one\n")
    says(cli("generate-prefs", "--set", "constitution=c.yaml"), 2, "no text", "c.yaml:3")
    assert not (tmp_path / "runs").exists()


def test_a_principle_with_an_unknown_word_is_refused_before_anything_is_sampled(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("name: c\nprinciples:\n  - {id: one, text: Prefer the sesquipedalian reply.}\n")
    says(cli("generate-prefs", "--set", "constitution=c.yaml"), 2, "sesquipedalian", "nearest wording")
    assert not list(tmp_path.glob("runs/*/round_00/2_samples"))


def test_a_template_with_an_unknown_variable_is_refused(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text(
        "---\nkind: pair\nuntrusted: [conversation, first, second]\ntrusted: [principle]\n"
        'verdict_marker: "Verdict:"\nverdicts: {first: " A", second: " B"}\n---\n{{ conversatoin }}\n'
    )
    says(cli("generate-prefs", "--set", "judge.template=t.j2"), 2, "conversatoin", "t.j2:8")
    assert not (tmp_path / "runs").exists()


def test_a_model_folder_without_a_chat_template_is_refused_with_a_way_out(cli: RunCli, tmp_path: Path) -> None:
    build_family("byte_bpe_no_template", tmp_path / "model")
    says(cli("generate-prefs", "--set", "policy.path=model"), 2, "chat template", "chat_template.jinja")


def test_a_model_folder_without_a_tokenizer_is_refused(cli: RunCli, tmp_path: Path) -> None:
    build_family("chatml", tmp_path / "model")
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    says(cli("generate-prefs", "--set", "policy.path=model"), 2, "tokenizer")


def test_prompts_longer_than_the_context_are_refused_when_none_fits(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text(json.dumps({"prompt": "the museum " * 4000}) + "\n")
    says(cli("generate-prefs", "--set", "prompts.path=long.jsonl"), 2, "longer than")


def test_a_misspelt_option_is_named_with_the_likely_one(cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "rlaif.yaml").write_text("ppo:\n  learning_rte: 0.1\n")
    says(cli("run"), 2, "ppo.learning_rte", "rlaif.yaml:2", "learning_rate")


def test_training_without_preferences_says_what_to_run_first(cli: RunCli) -> None:
    says(cli("train"), 2, "rlaif generate-prefs")


def test_a_dry_run_counts_calls_and_tokens_and_writes_nothing(cli: RunCli, tmp_path: Path) -> None:
    done = cli("generate-prefs", "--dry-run", "--set", "prompts.num_prompts=20")
    assert done.returncode == 0, done.stderr
    assert "80 responses to 20 prompts" in done.stdout
    assert "240 questions" in done.stdout, "20 prompts x 3 pairs x 2 principles x 2 orders"
    assert "Reply B" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_several_rounds_counts_them_all(cli: RunCli) -> None:
    done = cli(
        "run", "--dry-run", "--rounds", "3", "--set", "prompts.num_prompts=20", "--set", "evaluation.num_prompts=9"
    )
    # a round: 20 prompts x 3 pairs, and in the evaluation 9 prompts x 2 pairs, each under 2 principles in 2 orders
    assert "3 rounds: 240 responses, at most 936 questions" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "--rounds", "0"), ('"rounds" is 0', "at least 1")),
        (("generate-prefs", "--samples", "s.csv"), ("all of --samples, --judgements and --columns",)),
        (
            ("generate-prefs", "--samples", "s.csv", "--judgements", "j.csv", "--columns", "c.yaml", "--dry-run"),
            ("c.yaml",),
        ),
        (("generate-prefs", "--label-columns", "c.yaml"), ("no labels", "--human-labels")),
        (("train", "--stage", "policy"), ("no run yet", "rlaif generate-prefs")),
        (("evaluate",), ("no run yet",)),
    ],
)  # fmt: skip
def test_options_that_cannot_be_followed_are_refused_before_anything_is_loaded(
    cli: RunCli, tmp_path: Path, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = cli(*args)
    says(done, 2, *words)
    assert "loading torch" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_of_labels_is_named_and_leaves_no_used_run(cli: RunCli, tmp_path: Path) -> None:
    says(cli("generate-prefs", "--human-labels", "no.csv"), 2, "no such file", "no.csv")
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_a_run_that_goes_on_keeps_its_own_settings_and_takes_new_ones_by_name(cli: RunCli, tmp_path: Path) -> None:
    """Without a config file a later command reads what the run was started with."""
    small = ("--set", "prompts.num_prompts=12", "--set", "sampling.num_samples=2", "--set", "sampling.num_pairs=1")
    done = cli("generate-prefs", "--run", "own", "--seed", "7", *small)
    assert done.returncode == 0, done.stderr
    steps = ("--set", "reward_model.num_epochs=1")
    says(cli("train", "--run", "own", "--stage", "policy"), 2, "no reward model yet", "rlaif train")
    done = cli("train", "--run", "own", "--stage", "reward-model", *steps)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "runs" / "own" / "config.json").read_text())["config"]
    assert stored["seed"] == 7
    assert stored["prompts"]["num_prompts"] == 12
    assert stored["reward_model"]["num_epochs"] == 1
    assert not (tmp_path / "runs" / "own" / "round_00" / "6_policy").exists(), "--stage reward-model trains that alone"
    says(cli("evaluate", "--run", "own"), 2, "no trained policy yet", "rlaif train")


def test_a_run_with_a_config_file_keeps_what_its_first_command_set_and_takes_what_is_edited_later(
    cli: RunCli, tmp_path: Path
) -> None:
    file = tmp_path / "rlaif.yaml"
    file.write_text("sampling: {num_samples: 2, num_pairs: 1}\nppo: {kl_coef: 0.1}\n")
    done = cli("generate-prefs", "--run", "own", "--seed", "7", "--set", "prompts.num_prompts=4")
    assert done.returncode == 0, done.stderr
    done = cli("generate-prefs", "--run", "own", "--resume")
    assert done.returncode == 0, done.stderr
    says(cli("generate-prefs", "--run", "own", "--resume", "--seed", "8"), 2, "seed: 7 -> 8")
    file.write_text("sampling: {num_samples: 2, num_pairs: 1}\nppo: {kl_coef: 0.2}\n")
    done = cli("generate-prefs", "--run", "own", "--resume")
    assert (done.returncode, "ppo.kl_coef: 0.1 -> 0.2, from now on" in done.stderr) == (0, True), done.stderr
    stored = json.loads((tmp_path / "runs" / "own" / "config.json").read_text())
    assert (stored["config"]["seed"], stored["config"]["prompts"]["num_prompts"]) == (7, 4)
    assert stored["file"]["options"]["ppo"] == {"kl_coef": 0.2}
    file.write_text("sampling: {num_samples: 3, num_pairs: 1}\nppo: {kl_coef: 0.2}\n")
    says(cli("train", "--run", "own"), 2, "sampling.num_samples: 2 -> 3")
    file.write_text("sampling: {num_samples: 2, num_pairs: 1}\nppo:\n  kl_cof: 0.2\n")
    says(cli("train", "--run", "own"), 2, "ppo.kl_cof", "rlaif.yaml:3")


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_afterwards(cli: RunCli, tmp_path: Path) -> None:
    small = ("--run", "full", "--set", "prompts.num_prompts=40")
    done = cli("generate-prefs", *small, limit_file_size=200_000)
    says(done, 1, "disk", "resume")
    assert not list(tmp_path.rglob("*.part-*"))
    done = cli("generate-prefs", *small, "--resume")
    assert done.returncode == 0, done.stderr
    verified = cli("audit", "verify", "--run", "full")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_an_interrupt_is_one_line_and_the_run_can_be_resumed(tmp_path: Path, cli: RunCli) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rlaif", "generate-prefs", "--run", "i", "--set", "prompts.num_prompts=200"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    plan = tmp_path / "runs" / "i" / "round_00" / "3_judgements" / "questions_plan.json"
    while process.poll() is None and not plan.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume" in errors.strip().splitlines()[-1]
    assert cli("generate-prefs", "--run", "i", "--resume").returncode == 0


def test_help_does_not_wait_for_torch() -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "rlaif", "--help"], capture_output=True, text=True, check=True)
    assert "generate-prefs" in done.stdout
    assert time.monotonic() - started < 5, "a broken lazy import takes longer than this on any machine"
