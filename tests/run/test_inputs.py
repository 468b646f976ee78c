"""What is named by a path is noted when it is first used, and a change of it is named, never used without a word."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rlaif import pipeline
from rlaif.config.functions import load_function
from rlaif.config.load import load_config
from rlaif.errors import RunFolderError
from rlaif.frontdesk import POLICY_DIR
from rlaif.loop.open_run import open_work
from rlaif.records import Model
from rlaif.run.input_checks import find_functions
from rlaif.run.inputs import Input, expect_inputs, model_input
from rlaif.run.stages import REWARD_MODEL

JUDGE = Model(engine="transformers", weights="a" * 64, tokenizer="b" * 64, chat_template="c" * 64, dtype="float32")


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return tmp_path / "round_00" / "3_judgements"


def judge(model: Model = JUDGE, path: str = "judge") -> Input:
    return model_input("judge.model.path", model, path=path)


def test_the_same_input_is_accepted_again_and_in_a_later_stage(tmp_path: Path, stage: Path) -> None:
    expect_inputs(tmp_path, stage, [judge()])
    before = (tmp_path / "inputs.json").read_bytes()
    expect_inputs(tmp_path, stage, [judge()])
    assert (tmp_path / "inputs.json").read_bytes() == before
    expect_inputs(tmp_path, stage.with_name("7_evaluation"), [judge(JUDGE.changed(engine="vllm", dtype="bfloat16"))])
    (note,) = json.loads((tmp_path / "inputs.json").read_text()).values()
    assert note["stages"] == ["round_00/3_judgements", "round_00/7_evaluation"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "d" * 64}, "(changed: weights)"),
        ({"tokenizer": "d" * 64, "chat_template": ""}, "(changed: tokenizer, chat template)"),
    ],
)
def test_a_changed_input_is_named_with_its_place_and_where_it_was_noted(
    tmp_path: Path, stage: Path, changes: dict[str, str], words: str
) -> None:
    expect_inputs(tmp_path, stage, [judge()])
    with pytest.raises(RunFolderError) as raised:
        expect_inputs(tmp_path, stage.with_name("7_evaluation"), [judge(JUDGE.changed(**changes))])
    for part in ('judge.model.path "judge"', "round_00/3_judgements", words, "inputs.json", "start a new run"):
        assert part in raised.value.sentence
    assert not stage.with_name("7_evaluation").exists()


def test_another_path_is_the_matter_of_the_configuration(tmp_path: Path, stage: Path) -> None:
    expect_inputs(tmp_path, stage, [judge()])
    other = JUDGE.changed(weights="e" * 64)
    expect_inputs(tmp_path, stage, [judge(other, path="other")])
    with pytest.raises(RunFolderError, match='"judge" is not what it was'):
        expect_inputs(tmp_path, stage, [judge(other)])


def test_a_stage_whose_folder_is_removed_begins_again_with_what_is_there(tmp_path: Path, stage: Path) -> None:
    expect_inputs(tmp_path, stage, [judge()])
    other = judge(JUDGE.changed(weights="e" * 64))
    with pytest.raises(RunFolderError, match="to do round_00/3_judgements again, remove its folder"):
        expect_inputs(tmp_path, stage, [other])
    shutil.rmtree(stage)
    expect_inputs(tmp_path, stage, [other])


@pytest.mark.parametrize("is_old", [False, True])
def test_a_policy_that_changed_before_training_is_refused(tmp_path: Path, is_old: bool) -> None:
    """And put back, it is trained. An older rlaif noted nothing, and the ledger tells who drew the samples."""
    shutil.copytree(POLICY_DIR, tmp_path / "policy")
    few = ["prompts.num_prompts=4", "sampling.num_samples=2", "sampling.num_pairs=1", "reward_model.num_epochs=1"]
    config = load_config(overrides=[*few, f"policy.path={tmp_path / 'policy'}"])
    with open_work(config, run_name="r", runs_dir=tmp_path / "runs", resume=False) as work:
        pipeline.generate_preferences(work)
    weights = load_file(tmp_path / "policy" / "model.safetensors")
    changed = {name: tensor * 1.01 for name, tensor in weights.items()}
    shutil.copy(tmp_path / "policy" / "model.safetensors", tmp_path / "before")
    save_file(changed, tmp_path / "policy" / "model.safetensors", metadata={"format": "pt"})
    if is_old:
        (tmp_path / "runs" / "r" / "inputs.json").unlink()
    stages = (REWARD_MODEL,)
    refused = open_work(config, run_name="r", runs_dir=tmp_path / "runs", resume=False, stages=stages)
    with pytest.raises(RunFolderError, match=r"policy\.path .* when round_00/.* \(changed: weights\)"), refused as work:
        pipeline.train(work, stage="reward-model")
    shutil.copy(tmp_path / "before", tmp_path / "policy" / "model.safetensors")
    with open_work(config, run_name="r", runs_dir=tmp_path / "runs", resume=True, stages=stages) as work:
        pipeline.train(work, stage="reward-model")
        assert work.book.is_done(REWARD_MODEL, round=work.round.number)


def test_a_function_is_noted_by_the_source_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "my_own_reward.py"
    source.write_text("def reward(prompt, response, reference):\n    return 1.0\n")
    load_function("my_own_reward:reward", what="reward", where="ppo.rewards")
    (before,) = find_functions("ppo.rewards", ["my_own_reward:reward", "rlaif.frontdesk.truth:measure"])
    source.write_text("def reward(prompt, response, reference):\n    return 2.0\n")
    (after,) = find_functions("ppo.rewards", ["my_own_reward:reward"])
    assert (before.name, before.path) == (after.name, after.path)
    assert before.digests != after.digests
