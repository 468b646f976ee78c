"""Two sources of an option: which one wins, and the line that says so."""

from pathlib import Path

import pytest

from rlaif.config.load import load_config, load_options, parse_options
from rlaif.errors import ConfigError


def notes(text: str, *overrides: str) -> list[str]:
    found = parse_options(text, where="rlaif.yaml", overrides=overrides).notes
    return [note for note in found if not note.startswith("not set")]


def test_a_preset_on_the_command_line_wins_whole_and_every_option_that_lost_is_listed():
    loaded = parse_options(
        "judge:\n  template: pair\n  both_orders: true\n", where="rlaif.yaml", overrides=["preset=cai"]
    )
    judge = loaded.config.judge
    assert (judge.template, judge.principles, judge.both_orders) == ("cai", "sampled", False)
    assert loaded.notes[0] == (
        "--preset cai wins over rlaif.yaml: judge.template is cai, not pair; judge.both_orders is false, not true"
    )


def test_a_preset_in_the_file_gives_way_to_the_file_and_one_line_says_to_what():
    assert notes("preset: cai\njudge: {template: pair}\n") == [
        "rlaif.yaml wins over its preset cai: judge.template is pair, not cai"
    ]
    assert notes("preset: cai\njudge: {template: cai}\n") == []


def test_set_wins_over_a_preset_and_over_the_file():
    text = "seed: 3\n"
    loaded = parse_options(text, where="rlaif.yaml", overrides=["judge.template=pair", "preset=cai", "seed=4"])
    assert (loaded.config.judge.template, loaded.config.seed) == ("pair", 4)
    assert list(loaded.notes[:2]) == [
        "--set wins over the preset cai: judge.template is pair, not cai",
        "the command line wins over rlaif.yaml: seed is 4, not 3",
    ]


def test_another_preset_on_the_command_line_replaces_the_files_whole():
    loaded = parse_options("preset: lee2023\n", where="rlaif.yaml", overrides=["preset=mtbench"])
    assert (loaded.config.preset, loaded.config.judge.template) == ("mtbench", "mtbench")
    assert loaded.config.preferences.average == "logits"
    assert loaded.notes[0] == "the command line wins over rlaif.yaml: its preset lee2023 is not used"
    assert parse_options("preset: cai", where="x", overrides=["preset=null"]).config.judge.template == "frontdesk_pair"


def test_an_option_that_is_given_twice_is_named():
    assert notes("", "seed=1", "seed=2") == ["given twice on the command line, the last one holds: seed is 2, not 1"]
    assert notes("", "seed=1", "seed=1") == []
    assert notes("", "ppo.gamma=0.5", "seed=1") == []
    assert notes("", "preset=cai", "preset=mtbench")[0].endswith("the last one holds: preset is mtbench, not cai")


def test_an_empty_group_in_the_file_is_filled_by_the_preset_and_a_wrong_one_is_refused_by_its_line(tmp_path: Path):
    assert notes("judge:\n", "preset=cai") == []
    path = tmp_path / "rlaif.yaml"
    path.write_text("seed: 1\n")
    assert load_options(path, overrides=["seed=2"]).notes[0] == f"the command line wins over {path}: seed is 2, not 1"


def test_a_group_of_the_file_that_an_override_contradicts_is_named_by_both(tmp_path):
    path = tmp_path / "rlaif.yaml"
    path.write_text("seed: 1\nppo: {kl_coef: 0.1}\n")
    overrides = ["ppo.algorithm=rloo", "ppo.num_samples_per_prompt=2", "ppo.lam=0.9"]
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides=overrides)
    assert "lam does nothing" in raised.value.sentence
    assert "rlaif.yaml:2, --set ppo.algorithm=rloo, " in raised.value.sentence
    assert "--set ppo.lam=0.9" in raised.value.sentence
