"""The shipped weights: load like any model, end their replies, and judge as their cards say."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlaif.frontdesk import JUDGE_DIR, POLICY_DIR, truth, wordings
from rlaif.frontdesk.ask import PairQuestion, SingleQuestion, judge_pairs, load_folder, sample_replies, score_replies
from rlaif.frontdesk.judge_quality import Figures, draw_pairs, judge_both_orders, measure_scores, summarise
from rlaif.frontdesk.tokenizer import build_tokenizer
from rlaif.frontdesk.world import make_prompts
from rlaif.models.local.engine import TransformersEngine

CONSTITUTIONS = Path(__file__).parents[2] / "constitutions" / "frontdesk"


@lru_cache(maxsize=2)
def shipped(folder: Path) -> TransformersEngine:
    torch.set_num_threads(1)
    return load_folder(folder)


@lru_cache(maxsize=1)
def judged() -> Figures:
    judge = shipped(JUDGE_DIR)
    rows, failed = judge_both_orders(judge, draw_pairs(seed=11, n=24), seed=11)
    assert failed == 0
    return summarise(rows)


@pytest.mark.parametrize("folder", [POLICY_DIR, JUDGE_DIR])
def test_the_shipped_tokenizer_is_the_one_the_code_makes(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer.chat_template == build_tokenizer().chat_template
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.tie_word_embeddings is False


def test_both_folders_together_are_under_12_megabytes_and_hold_no_pickle() -> None:
    files = [path for folder in (POLICY_DIR, JUDGE_DIR) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".md", ".jinja"}


def test_the_policy_ends_its_replies_and_leaves_room_both_ways() -> None:
    policy = shipped(POLICY_DIR)
    prompts = make_prompts(3, 250, held_out=True)
    replies = sample_replies(policy, prompts, seed=0)
    rows = [truth.measure_attributes(p, r.text) for p, r in zip(prompts, replies, strict=True)]
    assert sum(reply.ended for reply in replies) / len(replies) > 0.95
    for name in truth.ATTRIBUTES:
        assert 15 < sum(row[name] for row in rows) / len(rows) < 90, name


def test_the_judge_is_right_on_clear_pairs() -> None:
    assert judged().clear >= 0.95


def test_the_judge_shows_the_planted_position_and_length_effects() -> None:
    assert judged().position == pytest.approx(truth.POSITION_BIAS, abs=0.2)
    assert judged().length_slope == pytest.approx(truth.LENGTH_BIAS, abs=0.35)
    assert judged().gap_slope == pytest.approx(truth.K_PER_STEP, abs=0.3)


def test_the_judge_writes_its_reason_before_its_verdict() -> None:
    judge = shipped(JUDGE_DIR)
    messages = make_prompts(0, 1)[0]
    polite, rude = "Welcome, dear visitor! Read the notice.", "Not you again. Read the notice."
    question = PairQuestion(messages, polite, rude, "Prefer the reply that is polite.")
    answer = judge_pairs(judge, [question])[0]
    assert answer.reason == "Wants courteous: A gracious, fits fully; B rude, fits badly."
    assert answer.logit is not None
    assert answer.logit > 2


def test_the_judge_scores_a_single_reply_from_1_to_10() -> None:
    judge = shipped(JUDGE_DIR)
    messages = make_prompts(0, 1)[0]
    polite, rude = "Welcome, dear visitor! Read the notice.", "Not you again. Read the notice."
    principle = "Prefer the reply that is polite."
    high, low = score_replies(judge, [SingleQuestion(messages, text, principle) for text in (polite, rude)])
    assert high.reason == "Wants courteous: gracious, fits fully."
    assert high.mean is not None
    assert low.mean is not None
    assert high.mean > 8
    assert low.mean < 3


def test_scores_follow_the_truth() -> None:
    figures = measure_scores(shipped(JUDGE_DIR), draw_pairs(seed=12, n=12), seed=12)
    assert figures.failed == 0
    assert figures.order_right >= 0.95
    assert figures.correlation > 0.9


@pytest.mark.parametrize("path", sorted(CONSTITUTIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_constitution_says_what_its_tags_measure(path: Path) -> None:
    constitution = yaml.safe_load(path.read_text(encoding="utf-8"))
    for principle in constitution["principles"]:
        wording = wordings.find_wording(principle["text"])
        assert wording is not None, f"{principle['id']} is no wording of the grammar"
        assert principle["tags"] == [wording.wanted]
