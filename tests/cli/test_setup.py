"""`rlaif init` and `rlaif doctor` as a user meets them: what is printed, and the exit code."""

import subprocess
import sys
from pathlib import Path


def rlaif(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rlaif", *args], capture_output=True, text=True, check=False, cwd=cwd)


def test_init_says_what_it_wrote_and_what_to_do_next(tmp_path):
    done = rlaif("init", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "wrote mine/rlaif.yaml",
        "wrote mine/constitutions",
        "wrote mine/prompts",
        "wrote mine/presets",
        "the front desk's judge reads only words that it learnt: `rlaif constitution words` lists them",
        "now: cd mine && rlaif run --dry-run",
    ]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "constitutions",
        "presets",
        "prompts",
        "rlaif.yaml",
    ]


def test_init_in_a_folder_in_use_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "prompts").mkdir()
    done = rlaif("init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == ("error: prompts is already there (.): give a new folder to `rlaif init`")
    assert [path.name for path in tmp_path.iterdir()] == ["prompts"]


def test_the_config_of_a_folder_is_read_and_a_misspelt_key_in_it_is_refused(tmp_path):
    rlaif("init", ".", cwd=tmp_path)
    config = tmp_path / "rlaif.yaml"
    config.write_text(config.read_text().replace("  # gamma: 1.0", "  gama: 1.0"))
    line = next(i for i, text in enumerate(config.read_text().splitlines(), 1) if "gama:" in text)
    done = rlaif("run", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (f'error: "ppo.gama" is not an option (rlaif.yaml:{line}): did you mean "ppo.gamma"?')


def test_doctor_on_the_machine_that_runs_the_tests_finds_nothing_to_mend(tmp_path):
    done = rlaif("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "rlaif can run here"
    assert any(line.split()[:2] == ["ok", "torch"] for line in done.stdout.splitlines())
