"""Presets: every shipped one is valid, the user's own options win, and messages name the right file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.config.load import load_config, parse_config
from rlaif.config.presets import preset_names, shipped_presets
from rlaif.constitution.render import load_template
from rlaif.errors import ConfigError


def test_the_recipes_are_there_and_what_they_say_is_what_is_documented():
    assert preset_names() == ["cai", "cai_cot", "dlma", "lee2023", "mtbench", "salmon"]
    said = {
        name: {
            (group, option): getattr(getattr(config, group), option)
            for group in ("judge", "preferences")
            for option in type(getattr(config, group)).model_fields
            if getattr(getattr(config, group), option) != getattr(getattr(parse_config("", where="x"), group), option)
        }
        for name in preset_names()
        for config in [parse_config(f"preset: {name}", where="x")]
    }
    assert said == {
        "cai": {("judge", "template"): "cai", ("judge", "principles"): "sampled", ("judge", "both_orders"): False},
        "cai_cot": {
            ("judge", "template"): "cai_cot", ("judge", "principles"): "sampled", ("judge", "both_orders"): False,
            ("preferences", "clamp"): 0.4,
        },
        "dlma": {("judge", "template"): "dlma"},
        "lee2023": {
            ("judge", "template"): "lee2023", ("judge", "principles"): "together",
            ("preferences", "average"): "probabilities",
        },
        "salmon": {
            ("judge", "template"): "salmon", ("preferences", "inconsistent"): "tie",
            ("preferences", "normalise"): "principle", ("preferences", "combine"): "dominant",
            ("preferences", "subset_p"): 0.2, ("preferences", "labels"): "hard", ("preferences", "label_noise"): 0.1,
        },
        "mtbench": {
            ("judge", "template"): "mtbench", ("judge", "principles"): "together", ("preferences", "verdicts"): "hard",
            ("preferences", "inconsistent"): "tie",
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "choices", "marker", "reasons"),
    [
        ("cai", ("A", "B"), "The answer is: (", False), ("cai_cot", ("A", "B"), "The answer is: (", True),
        ("lee2023", ("1", "2"), "Preferred response=", True), ("salmon", ("a", "b"), "Output (", False),
        ("mtbench", ("A", "B", "C"), "[[", True),
    ],
)  # fmt: skip
def test_each_has_a_template_of_its_name(name, choices, marker, reasons):
    template = load_template(parse_config(f"preset: {name}", where="x").judge.template, kind="pair")
    assert (template.choices, template.verdict_marker) == (choices, marker)
    assert (template.reason_max_tokens > 0) == reasons


def test_dlma_sums_log_likelihoods_and_needs_opposites():
    template = load_template(parse_config("preset: dlma", where="x").judge.template, kind="contrast")
    assert template.contrast is not None
    assert (template.contrast.normalise, template.contrast.scale, template.contrast.needs_opposite) == ("sum", 1, True)


def test_the_users_own_options_win_in_the_file_and_on_the_command_line():
    config = parse_config(
        "preset: cai_cot\njudge: {template: pair}\npreferences: {min_margin: .1}",
        where="x", overrides=["preferences.clamp=0.3"],
    )  # fmt: skip
    assert (config.judge.template, config.judge.principles) == ("pair", "sampled")
    assert (config.preferences.clamp, config.preferences.min_margin) == (0.3, 0.1)
    named = parse_config("judge: {template: pair}", where="x", overrides=["preset=mtbench"])
    assert (named.judge.template, named.preferences.verdicts) == ("mtbench", "hard")
    assert parse_config("preset: salmon\njudge:\npreferences:\n", where="x").preferences.combine == "dominant"


def test_what_a_run_was_started_with_is_read_again_without_its_preset():
    stored = parse_config("preset: cai_cot\npreferences: {clamp: 0.0}", where="x").model_dump_json()
    again = parse_config(stored.replace('"preset":"cai_cot"', '"preset":"gone"'), where="config.json", is_complete=True)
    assert (again.judge.template, again.preferences.clamp) == ("cai_cot", 0.0)


def test_an_unknown_preset_is_told_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r'no preset "salmonn" \(x:1\): did you mean "salmon"\? these exist: cai, '):
        parse_config("preset: salmonn", where="x")
    with pytest.raises(ConfigError, match='"preset" is 3'):
        parse_config("preset: 3", where="x")


def test_a_preset_of_ones_own_is_found_by_name_or_path_and_its_faults_are_shown_in_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("presets").mkdir()
    Path("presets/mine.yaml").write_text("preferences: {clamp: .25}\nppo:\n  kl_coef: -1\n")
    with pytest.raises(ConfigError, match=r'"ppo.kl_coef" is -1 \(presets/mine.yaml:3\)'):
        parse_config("preset: mine", where="rlaif.yaml")
    assert parse_config("preset: mine\nppo: {kl_coef: .1}", where="rlaif.yaml").preferences.clamp == 0.25
    assert load_config(overrides=["preset=presets/mine.yaml", "ppo.kl_coef=.1"]).preferences.clamp == 0.25
    with pytest.raises(ConfigError, match=r'"preferences.clamp" is 0.9 \(--set preferences.clamp=.9\)'):
        parse_config("preset: mine", where="rlaif.yaml", overrides=["preferences.clamp=.9"])
    Path("presets/mine.yaml").write_text("preset: cai\n")
    with pytest.raises(ConfigError, match="a preset names no other preset"):
        parse_config("preset: mine", where="rlaif.yaml")


def test_every_preset_names_its_source():
    for path in shipped_presets().glob("*.yaml"):
        text = path.read_text()
        assert "arXiv:" in text
        assert "docs/presets.md" in text
