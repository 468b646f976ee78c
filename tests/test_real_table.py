"""The steering table of examples/real-model, from replies that are written here."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from rlaif.config.load import load_config
from rlaif.constitution.principles import load_constitution
from rlaif.frontdesk import JUDGE_DIR

EXAMPLE = Path(__file__).parents[1] / "examples" / "real-model"
sys.path.insert(0, str(EXAMPLE))

import placebo  # noqa: E402
from real_arms import Arm, load_arm  # noqa: E402
from real_readers import read_rows, render_readings  # noqa: E402
from real_rows import merge_rows, publish_rows, read_finished, read_published  # noqa: E402
from real_table import INSTRUMENTS, compute_figures, measure_move, render_markdown, text_score  # noqa: E402
from steering import find_constitution, parse_arguments, plan_arms  # noqa: E402


def reply(text: str, *, nats: float = 1.0, ended: bool = True) -> dict[str, object]:
    return {"text": text, "nats_by_token": nats, "ended": ended}


def row(arm: str, seed: int, *, start: str, trained: str, nats: float = 1.0, num_prompts: int = 4) -> dict[str, object]:
    replies = [
        {"prompt": f"Question {n}?", "start": [reply(start)] * 2, "trained": [reply(trained, nats=nats)] * 2}
        for n in range(num_prompts)
    ]
    return {"arm": arm, "seed": seed, "through": "judge", "replies": replies, "kl": 2.0, "seconds": 120.0}


def test_a_change_is_the_mean_over_prompts_and_seeds_with_an_interval():
    rows = [row("brief", 1, start="a b c d", trained="a b"), row("brief", 2, start="a b c d", trained="a b c")]
    move = measure_move(rows, text_score("words"))
    assert (move.before, move.change, move.by_seed) == (4.0, -1.5, (-2.0, -1.0))
    assert (move.low, move.high) == (-1.5, -1.5), "all prompts moved alike, so drawing them again changes nothing"
    assert move.is_clear(-1)
    assert not move.is_clear(1)


def test_the_interval_is_drawn_over_prompts():
    mixed = row("brief", 1, start="a b c d", trained="a b")
    mixed["replies"][0]["trained"] = [reply("a b c d e f g h")] * 2
    move = measure_move([mixed], text_score("words"))
    assert move.low < move.change == -0.5 < move.high
    assert not move.is_clear(-1), "one of four prompts moved the other way"


def test_a_seed_of_the_wrong_sign_is_not_clear_however_narrow_the_interval():
    rows = [row("brief", 1, start="a b c d", trained="a"), row("brief", 2, start="a b c d", trained="a b c d e")]
    move = measure_move(rows, text_score("words"))
    assert move.high < 0
    assert not move.is_clear(-1)


def test_every_arm_gets_its_line_and_the_placebo_stands_last(monkeypatch):
    pytest.importorskip("textblob")
    rows = [
        row("placebo", 1, start="a b c", trained="a b c"), row("brief", 1, start="a b c d", trained="a b", nats=1.2),
        row("formal", 1, start="don't go", trained="don't go"),
    ]  # fmt: skip
    brief, formal, nothing = compute_figures(rows)
    assert [one.arm for one in (brief, formal, nothing)] == ["brief", "formal", "placebo"]
    assert [one.verdict for one in (brief, formal, nothing)] == [
        "moved as asked",
        "not shown to move",
        "within the noise",
    ]
    assert brief.perplexity_ratio == pytest.approx(2.718281828**0.2)
    page = render_markdown([brief, formal, nothing], rows, command="steer.py")
    assert "| the judge | brief | 1 | words, wants less | 4.0 | -2.0 | -2.0 to -2.0 |" in page
    assert "before: a b c d" in page


def test_another_model_reads_one_reply_of_each_prompt_by_contrast_and_by_verdict(tmp_path):
    rows = [
        row("brief", 1, start="the museum opens at nine", trained="at nine"),
        row("placebo", 1, start="a", trained="b"),
    ]
    ask = partial(read_rows, rows, reader=JUDGE_DIR, constitutions={"brief": "brief"}, folder=tmp_path)
    found = ask()
    assert [(one.arm, one.template, one.num) for one in found] == [
        ("brief", "contrast", 4),
        ("brief", "pair_verdict", 4),
    ]
    assert all(one.low <= one.preferred <= one.high for one in found)
    assert ask() == found, "from the ledger"
    assert "| judge | brief | 1 | contrast |" in "\n".join(render_readings(found, reader="front desk"))


def test_each_principle_and_its_flip_are_measured_by_one_instrument_with_opposite_signs():
    for one, other in (("warm", "cold"), ("brief", "wordy"), ("formal", "casual")):
        assert INSTRUMENTS[one].measure == INSTRUMENTS[other].measure
        assert INSTRUMENTS[one].sign == -INSTRUMENTS[other].sign


def test_flips_are_worded_independently_and_have_opposites():
    words = lambda text: set(text.lower().split())  # noqa: E731
    for one, other in (("warm", "cold"), ("brief", "wordy"), ("formal", "casual")):
        [principle] = load_constitution(one).principles
        [flip] = load_constitution(find_constitution(other)).principles
        assert flip.opposite
        shared = words(flip.text) & words(principle.opposite)
        assert len(shared) < len(words(flip.text)) / 2


def test_the_table_is_planned_seed_by_seed_with_a_placebo_where_all_are_trained(tmp_path):
    arms = plan_arms(parse_arguments(["--seeds", "2", "--out", str(tmp_path)]))
    assert [arm.name for arm in arms if arm.seed == 1] == [*INSTRUMENTS, "placebo"]
    assert len(arms) == 16
    few = plan_arms(parse_arguments(["warm", "--seeds", "1", "--through", "model", "--out", str(tmp_path)]))
    assert [arm.run_name for arm in few] == ["model-warm-s1"]


@pytest.mark.parametrize("through", ["judge", "model"])
def test_an_arms_settings_are_the_files_with_its_constitution_and_seed(through, tmp_path):
    arm = Arm("brief", "brief", 2, through, tmp_path, settings=("ppo.num_steps=3",))
    config = load_arm(arm)
    assert (config.constitution, config.seed, config.ppo.num_steps) == ("brief", 2, 3)
    assert bool(config.ppo.rewards) == (through == "judge")
    placebo_config = load_arm(arm._replace(name="placebo", through="judge"))
    assert placebo_config.ppo.rewards[0].function == "placebo:shuffled"


def test_a_placebo_deals_the_scores_by_the_reply_alone(tmp_path, monkeypatch):
    (tmp_path / "scores.json").write_text(json.dumps([0.25, -0.5, 1.0]))
    monkeypatch.setenv("RLAIF_PLACEBO_SCORES", str(tmp_path / "scores.json"))
    placebo._scores.cache_clear()
    prompt = [{"role": "user", "content": "Hello"}]
    dealt = [placebo.shuffled(prompt, f"reply {n}", None) for n in range(60)]
    assert set(dealt) == {0.25, -0.5, 1.0}
    assert dealt == [placebo.shuffled(prompt, f"reply {n}", None) for n in range(60)]


def test_published_replies_are_read_again_and_give_way_to_those_of_the_same_training_done_since(tmp_path):
    published = tmp_path / "replies.jsonl"
    assert read_published(published) == []
    first, second = row("warm", 2, start="a", trained="b"), row("brief", 1, start="a", trained="\u2028")
    publish_rows(merge_rows([first, second], []), published)
    assert read_published(published) == [second, first]
    (tmp_path / "rows").mkdir()
    again = row("warm", 2, start="a", trained="c")
    (tmp_path / "rows" / "judge-warm-s2.json").write_text(json.dumps(again))
    assert merge_rows(read_finished(tmp_path), read_published(published)) == [second, again]


@pytest.mark.parametrize("name", ["rlaif.yaml", "judge_reward.yaml", "one_gpu.yaml"])
def test_every_configuration_of_the_example_is_valid(name):
    assert load_config(EXAMPLE / name).policy.path
