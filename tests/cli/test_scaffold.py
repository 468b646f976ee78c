"""`rlaif init`: a config that loads as it is and with every line uncommented, and nothing overwritten."""

import re
from pathlib import Path

import pytest

from rlaif.cli.scaffold import as_yaml, render_config, write_scaffold
from rlaif.config.load import load_config, parse_config
from rlaif.config.options import describe_config
from rlaif.config.run import RunConfig
from rlaif.constitution.shipped import find_shipped, shipped_folder
from rlaif.errors import InputError


def test_the_config_as_written_changes_nothing_and_its_names_find_the_copies(tmp_path, monkeypatch):
    write_scaffold(tmp_path / "new")
    config = load_config(tmp_path / "new" / "rlaif.yaml")
    assert config == load_config()
    monkeypatch.chdir(tmp_path / "new")
    copy = Path("constitutions/frontdesk/courteous_and_brief.yaml")
    assert find_shipped("constitutions", config.constitution, ".yaml") == copy
    assert find_shipped("prompts", config.judge.template, ".j2") == Path("prompts/frontdesk_pair.j2")


def test_every_option_stands_in_the_config_and_uncommenting_all_changes_nothing():
    text = render_config()
    uncommented = re.sub(r"^( *)# (\w+: )", r"\1\2", text, flags=re.MULTILINE)
    assert parse_config(uncommented, where="x") == parse_config(text, where="x")
    num_options = sum(not option.is_group for option in describe_config(RunConfig))
    assert sum(not line.strip().startswith("#") and ": " in line for line in uncommented.splitlines()) == num_options


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("frontdesk", "frontdesk"),
        ("float32", "float32"),
        ("null", '"null"'),
        ("a: b", '"a: b"'),
        ("", '""'),
        (True, "true"),
        (None, "null"),
        (1e-05, "1e-05"),
        ((), "[]"),
    ],
)
def test_a_default_is_written_as_yaml_that_reads_back(value, text):
    assert as_yaml(value) == text


def test_the_shipped_files_are_copied_byte_for_byte(tmp_path):
    write_scaffold(tmp_path)
    for kind in ("constitutions", "prompts"):
        assert read_files(tmp_path / kind) == read_files(shipped_folder(kind)) != {}


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_a_config_is_refused_and_stays_as_it_was(tmp_path):
    (tmp_path / "rlaif.yaml").write_text("seed: 3\n")
    with pytest.raises(InputError, match=r"rlaif\.yaml is already there"):
        write_scaffold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rlaif.yaml"]
    assert (tmp_path / "rlaif.yaml").read_text() == "seed: 3\n"


def test_a_config_that_is_a_link_to_nothing_is_refused_and_stays_as_it_was(tmp_path):
    (tmp_path / "rlaif.yaml").symlink_to("on another disk.yaml")
    with pytest.raises(InputError, match=r"rlaif\.yaml is already there"):
        write_scaffold(tmp_path)
    assert (tmp_path / "rlaif.yaml").is_symlink()


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_scaffold(tmp_path / "file")


def test_a_preset_stands_in_the_config_and_gives_the_values_that_are_shown(tmp_path, monkeypatch):
    write_scaffold(tmp_path, preset="cai_cot")
    text = (tmp_path / "rlaif.yaml").read_text()
    assert "\npreset: cai_cot\n" in text
    assert "\n  # clamp: 0.4\n" in text
    monkeypatch.chdir(tmp_path)
    assert load_config(tmp_path / "rlaif.yaml") == parse_config("preset: cai_cot", where="x")
    uncommented = re.sub(r"^( *)# (\w+: )", r"\1\2", text, flags=re.MULTILINE)
    assert parse_config(uncommented, where="x") == parse_config("preset: cai_cot", where="x")
    assert sorted(path.name for path in (tmp_path / "presets").iterdir())[0] == "cai.yaml"
    with pytest.raises(InputError, match='no preset "cia"'):
        write_scaffold(tmp_path / "other", preset="cia")
    assert not (tmp_path / "other").exists()
