"""A real instruct model, fetched from packages: its template, its contrasts, and ten steps of PPO by its judgement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.constitution.principles import load_constitution
from rlaif.constitution.render import load_template
from rlaif.judging.questions import render_question, score_request
from rlaif.judging.verdict import read_answer
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.weights.loading import LoadedModel, load_causal_lm
from rlaif.records import Judgement, Message, Observed, Prompt, Sample

pytestmark = pytest.mark.heavy
EXAMPLE = Path(__file__).parents[1] / "examples" / "real-model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct's folder, as the example's script makes it."""
    folder = tmp_path_factory.mktemp("real") / "models" / "smollm2"
    command = [sys.executable, str(EXAMPLE / "fetch_model.py"), "--out", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_causal_lm(str(folder))


def run_cli(*words: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlaif", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_prompts_are_those_of_its_own_chat_template(loaded):
    prompt = Prompt.from_chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What's 2+2?"}])
    expected = loaded.tokenizer.apply_chat_template(prompt.as_chat(), add_generation_prompt=True, return_dict=False)
    assert loaded.encoder.encode(prompt.as_segments()) == expected
    assert loaded.tokenizer.decode([loaded.encoder.end_token_id]) == "<|im_end|>"
    assert loaded.encoder.pad_token_id not in loaded.encoder.stop_token_ids


def test_a_contrast_hears_whether_a_reply_is_warm(loaded):
    [warm] = load_constitution("warm").principles
    engine, template = TransformersEngine(loaded), load_template("contrast")
    chats = [
        render_question(
            Prompt(messages=(Message(role="user", content=example.prompt),)),
            [Sample(prompt_id="p", policy_id="p", finish_reason="recorded", text=text)],
            warm,
            template=template,
        )
        for example in warm.examples
        for text in (example.good, example.bad)
    ]
    scores = []
    for reply in engine.score(chats, request=score_request(template)):
        answer = read_answer(
            reply, question_id="q", template=template, num_shown=1, min_label_mass=0.5, attempt=1, observed=Observed()
        )  # fmt: skip
        assert isinstance(answer, Judgement)
        scores.append(answer.score)
    right = sum(good > bad for good, bad in zip(scores[::2], scores[1::2], strict=True))
    assert right >= 0.8 * len(warm.examples)


def test_ten_steps_of_ppo_by_its_own_contrast_end_in_a_report_of_what_changed(folder, tmp_path):
    settings = {
        "policy.path": folder, "judge.model.path": folder, "prompts.path": EXAMPLE / "prompts.jsonl",
        "prompts.num_prompts": 40, "prompts.test_fraction": 0.2, "ppo.num_steps": 10, "ppo.num_prompts_per_step": 2,
        "ppo.response_length": 16, "sampling.max_new_tokens": 16, "evaluation.num_prompts": 4,
        "evaluation.num_samples": 1,
    }  # fmt: skip
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run_cli("run", "--config", str(EXAMPLE / "judge_reward.yaml"), *options, folder=tmp_path)
    [report] = (tmp_path / "runs").glob("*/round_00/7_evaluation/report.json")
    found = json.loads(report.read_text())
    assert {"words", "contractions"} <= found["measures"].keys()
    steps = [json.loads(line) for line in (report.parents[2] / "metrics.jsonl").read_text().splitlines()]
    kl = [step["objective/kl"] for step in steps if step["stage"] == "policy" and "objective/kl" in step]
    assert len(kl) == 10
    assert abs(kl[0]) < 1e-2 < abs(kl[-1]), "it starts as its reference, and has moved"
    run_cli("audit", "verify", folder=tmp_path)
