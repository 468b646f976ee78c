"""Dialogues with a chosen and a rejected reply, as HH-RLHF publishes them: prompts, and what people preferred.

The data are another's and stand beside the repository; without them the tests that read them are skipped.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from families import build_family

from rlaif import pipeline
from rlaif.calibration.labels import labels_from_preferences
from rlaif.config.generate import PromptsConfig
from rlaif.config.load import load_config
from rlaif.loop.open_run import open_work
from rlaif.preferences.read import read_preferences
from rlaif.records import Prompt, RewardModelCard, Sample
from rlaif.reward_model.stage import train_on_preferences
from rlaif.run.stages import PROMPTS, REWARD_MODEL, SAMPLES
from rlaif.sampling.prompts import read_prompts

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "hh-rlhf"
DATA = ROOT.parent / "shared" / "data" / "hh-rlhf-harmless-test" / "test.jsonl.gz"

TEMPLATE = """\
---
kind: pair
untrusted: [conversation, first, second]
trusted: [principle]
verdict_marker: "Verdict:"
verdicts: {first: " A", second: " B"}
---
{{ conversation }}
Reply A:
{{ first }}
Reply B:
{{ second }}
Principle: {{ principle }}
"""
"""A short one: the tiny model reads bytes and has room for 512 of them."""

needs_data = pytest.mark.skipif(
    not DATA.is_file(), reason="HH-RLHF's test pairs are not in ../shared/data/hh-rlhf-harmless-test"
)


def run_on(data: Path, tmp_path: Path, *, num_prompts: int, max_length: int) -> tuple[int, int, RewardModelCard]:
    """Prompts, responses and the reward model's card of a run on these dialogues with a tiny random model."""
    build_family("chatml", tmp_path / "model")
    (tmp_path / "short.j2").write_text(TEMPLATE)
    config = load_config(EXAMPLE / "rlaif.yaml", overrides=[
        f"constitution={EXAMPLE / 'harmless.yaml'}", f"policy.path={tmp_path / 'model'}",
        f"judge.model.path={tmp_path / 'model'}", "judge.min_label_mass=0",
        f"judge.template={tmp_path / 'short.j2'}", f"prompts.path={data}",
        f"prompts.num_prompts={num_prompts}", "prompts.test_fraction=0.3", "sampling.num_samples=2",
        "sampling.max_new_tokens=8", f"reward_model.preferences={data}", "reward_model.num_epochs=1",
        f"reward_model.max_length={max_length}",
    ])  # fmt: skip
    with open_work(config, run_name="tiny", runs_dir=tmp_path / "runs", resume=False) as work:
        pipeline.generate_preferences(work)
        train_on_preferences(work.round, work.book, work.shelf)
        prompts, samples = (
            work.book.used(PROMPTS, Prompt, round=work.round.number),
            work.book.used(SAMPLES, Sample, round=work.round.number),
        )
        [card] = work.book.used(REWARD_MODEL, RewardModelCard, round=work.round.number)
    return len(prompts), len(samples), card


def test_the_loop_samples_on_dialogues_and_learns_from_what_people_chose(tmp_path: Path) -> None:
    rows = [
        {
            "chosen": f"\n\nHuman: When does museum {n} open?\n\nAssistant: At nine.",
            "rejected": f"\n\nHuman: When does museum {n} open?\n\nAssistant: Who knows.",
        }
        for n in range(12)
    ]
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    num_prompts, num_samples, card = run_on(path, tmp_path, num_prompts=5, max_length=512)
    assert (num_prompts, num_samples) == (5, 10)
    assert card.accuracy is not None
    assert 0 < card.accuracy.n < 12


@needs_data
def test_hh_rlhfs_dialogues_are_read_as_prompts() -> None:
    read = read_prompts(PromptsConfig(path=str(DATA), column="chosen", num_prompts=5000))
    assert str(read.tally) == "in 2312, kept 2310, dropped 2 (duplicate 2)"
    assert {prompt.messages[-1].role for prompt in read.prompts} == {"user"}
    for prompt in read.prompts:
        roles = [message.role for message in prompt.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert read_prompts(PromptsConfig(path=str(DATA), column="rejected", num_prompts=5000)).prompts == read.prompts


@needs_data
def test_hh_rlhfs_pairs_are_read_as_what_people_preferred() -> None:
    rows = read_preferences(DATA)
    assert len(rows) == 2312
    assert {(row.label, row.weight) for row in rows} == {(1.0, 1.0)}
    assert sum(row.chosen == "" for row in rows) == 4
    assert not any(row.chosen == row.rejected for row in rows)
    labels = labels_from_preferences(rows, path=str(DATA), digest="")
    assert len(labels.rows) == 2312
    assert {label.choice for label in labels.rows} == {"first"}
    first = rows[0]
    assert first.prompt.messages[0].content == "what are some pranks with a pen i can do?"


@needs_data
@pytest.mark.heavy
def test_a_run_on_hh_rlhf_samples_and_learns(tmp_path: Path) -> None:
    num_prompts, num_samples, card = run_on(DATA, tmp_path, num_prompts=8, max_length=192)
    assert 1 <= num_prompts <= 8  # those that a context of 512 bytes cannot hold are dropped
    assert num_samples == 2 * num_prompts
    assert card.accuracy is not None
    assert card.accuracy.n >= 10
