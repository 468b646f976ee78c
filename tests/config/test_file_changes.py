"""Of a run's config file only what was edited since it began counts later."""

from pathlib import Path

import pytest

from rlaif.config.file_changes import find_edits, find_file, note_file
from rlaif.config.load import load_config, parse_config
from rlaif.config.run import RunConfig

THEN = {"seed": 3, "ppo": {"kl_coef": 0.1, "num_steps": 7}, "judge": {"template": "pair"}}


@pytest.mark.parametrize(
    ("now", "edits"),
    [
        (THEN, []),
        ({**THEN, "seed": 4}, ["seed=4"]),
        ({**THEN, "ppo": {"kl_coef": 0.2, "num_steps": 7}}, ["ppo.kl_coef=0.2"]),
        ({**THEN, "ppo": None}, [f"ppo.kl_coef={RunConfig().ppo.kl_coef}", "ppo.num_steps=null"]),  # null: the policy's
        ({**THEN, "evaluation": {"measures": ["a:b"]}}, ['evaluation.measures=["a:b"]']),
        ({**THEN, "ppo": {**THEN["ppo"], "kl_cof": 1}}, ["ppo.kl_cof=1"]),
    ],
)  # fmt: skip
def test_each_edited_option_is_an_override_and_a_removed_one_gets_its_default(
    now: dict[str, object], edits: list[str]
) -> None:
    assert find_edits(THEN, now) == edits


def test_edits_are_laid_over_what_the_run_was_started_with(tmp_path: Path) -> None:
    path = tmp_path / "rlaif.yaml"
    path.write_text("ppo: {kl_coef: 0.1}\nprompts:\n  num_prompts: 9\n")
    started = load_config(path, overrides=["ppo.num_steps=2", "seed=5"])
    noted = note_file(path)
    path.write_text("ppo: {kl_coef: 0.3}\n# prompts are the default now\n")
    edits = find_edits(noted["options"], note_file(path)["options"])
    resumed = parse_config(started.model_dump_json(), where="config.json", overrides=edits, is_complete=True)
    assert (resumed.ppo.kl_coef, resumed.ppo.num_steps, resumed.seed) == (0.3, 2, 5)
    assert resumed.prompts.num_prompts == RunConfig().prompts.num_prompts


def test_the_file_of_a_run_is_its_own_unless_another_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own, other = Path("own.yaml"), Path("other.yaml")
    own.write_text("seed: 1\n")
    Path("rlaif.yaml").write_text("seed: 2\n")
    assert find_file(None, note_file(own)) == own
    assert find_file(other, note_file(own)) == other
    assert find_file(None, note_file(None)) == Path("rlaif.yaml"), "a run without one takes what is here"
    noted = note_file(own)
    own.unlink()
    assert find_file(None, noted) is None, "its own options are in the run"
