"""Many kinds of models: each goes through the whole loop, or one sentence of an expected kind refuses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from swept_models import ARCHITECTURES, TEMPLATES, TOKENIZERS, Swept, draw_models, make_model
from test_pipeline_families import CONSTITUTION, TEMPLATE

from rlaif import pipeline
from rlaif.config.load import load_config
from rlaif.errors import RlaifError
from rlaif.loop.open_run import open_work

MODELS = [*draw_models()]
MUST_REFUSE = {
    "none": "no chat template",
    "no end": "does not come to an end",
    "not Jinja": "cannot be read",
    "rewrites": "rewrites the content",
    "leaves users out": "leaves out message",
    "opens a thought": "generation prompt ends with",
    "mamba": "keeps a recurrent state",
    "cohere": "no form with a scalar head",
    "granite": "no form with a scalar head",
    "codegen": "no form with a scalar head",
    "tokens beyond the embeddings": "the tokenizer has 263 tokens, the model only 261",
}
"""What must be refused, and by which words; all else goes through the loop."""


def test_every_architecture_tokenizer_and_template_is_swept() -> None:
    assert len(MODELS) >= 40
    assert {model.architecture for model in MODELS} == set(ARCHITECTURES)
    assert {model.tokens for model in MODELS} == set(TOKENIZERS)
    assert {model.template for model in MODELS} == set(TEMPLATES)


def _run(model: Path, folder: Path) -> None:
    (folder / "polite.yaml").write_text(CONSTITUTION)
    (folder / "short.j2").write_text(TEMPLATE)
    rows = [{"prompt": f"When does museum number {n} open?"} for n in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(overrides=[
        f"policy.path={model}", f"judge.model.path={model}", f"prompts.path={folder / 'prompts.jsonl'}",
        f"constitution={folder / 'polite.yaml'}", f"judge.template={folder / 'short.j2'}", "judge.min_label_mass=0",
        "sampling.num_samples=2", "sampling.max_new_tokens=4", "prompts.test_fraction=0.34",
        "reward_model.num_epochs=1", "ppo.num_steps=1", "ppo.num_prompts_per_step=2", "ppo.num_samples_per_prompt=2",
        "ppo.num_mini_batches=1", "ppo.response_length=4", "ppo.num_reference_samples=2",
    ])  # fmt: skip
    with open_work(config, run_name="tiny", runs_dir=folder / "runs", resume=False) as work:
        pipeline.run_round(work, labels=None)


@pytest.mark.heavy(minutes=3)
@pytest.mark.parametrize("swept", MODELS, ids=" - ".join)
def test_a_model_goes_through_the_loop_or_is_refused_in_one_sentence(swept: Swept, tmp_path: Path) -> None:
    make_model(swept, tmp_path / "model")
    must = [MUST_REFUSE[part] for part in swept if part in MUST_REFUSE]
    refused = _refusal(tmp_path / "model", tmp_path)
    if refused is not None:
        assert refused.exit_code in (1, 2)
        assert "\n" not in refused.sentence
        assert re.search("|".join(must) or "(?!)", refused.sentence), refused.sentence
        return
    assert not must
    assert (tmp_path / "runs" / "tiny" / "round_00" / "7_evaluation" / "report.html").is_file()


def _refusal(model: Path, folder: Path) -> RlaifError | None:
    try:
        _run(model, folder)
    except RlaifError as error:
        return error
    return None
