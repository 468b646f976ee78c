"""What follows a model: the front desk keeps its values, every other model gets those that are usual for it."""

import json
from pathlib import Path

import pytest

from rlaif.config import load
from rlaif.config.load import load_config, load_options, parse_config, parse_options, parse_stored
from rlaif.config.options import describe_config
from rlaif.config.resolve import find_followers, find_gpu
from rlaif.config.run import RunConfig
from rlaif.frontdesk import JUDGE_DIR, POLICY_DIR

DESK = {
    "sampling.max_new_tokens": 64, "sft.learning_rate": 5e-4, "dpo.learning_rate": 2e-4,
    "ift.learning_rate": 5e-4, "rft.learning_rate": 1e-3, "irft.learning_rate": 2e-4,
    "seft.learning_rate": 5e-4, "seft.reviser_learning_rate": 1e-3,
    "kto.learning_rate": 2e-4, "reward_model.learning_rate": 1e-3,
    "reward_model.num_epochs": 3, "ppo.learning_rate": 7e-4, "ppo.num_steps": 30, "ppo.response_length": 64,
    "ppo.model.value_learning_rate": None, "ppo.model.compute_dtype": "float32", "ppo.rollout.dtype": "float32",
    "judge.template": "frontdesk_pair", "judge.model.dtype": "float32",
}  # fmt: skip
OWN_POLICY = {
    "sampling.max_new_tokens": 512, "sft.learning_rate": 1e-5, "dpo.learning_rate": 1e-6,
    "ift.learning_rate": 1e-5, "rft.learning_rate": 1e-5, "irft.learning_rate": 1e-5,
    "seft.learning_rate": 1e-5, "seft.reviser_learning_rate": 1e-5,
    "kto.learning_rate": 1e-6, "reward_model.learning_rate": 1e-5,
    "reward_model.num_epochs": 1, "ppo.learning_rate": 1e-6, "ppo.num_steps": 100, "ppo.response_length": 512,
}  # fmt: skip

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def value(config: RunConfig, name: str):
    for part in name.split("."):
        config = getattr(config, part)
    return config


def test_every_option_that_follows_a_model_has_todays_value_for_the_front_desk():
    loaded = load_options()
    assert set(find_followers()) == set(DESK) == set(loaded.resolved)
    assert {name: value(loaded.config, name) for name in DESK} == DESK == loaded.resolved


def test_the_front_desks_models_are_known_by_their_folders_too():
    named = [f"policy.path={POLICY_DIR}", f"judge.model.path={JUDGE_DIR}"]
    assert load_options(overrides=named).resolved == DESK


def test_copies_of_the_front_desks_models_and_what_was_trained_from_them_are_known_by_their_tokenizer(tmp_path):
    for name, folder in (("policy", POLICY_DIR), ("judge", JUDGE_DIR)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        (tmp_path / name / "model.safetensors").write_bytes(b"other weights")
    named = [f"policy.path={tmp_path / 'policy'}", f"judge.model.path={tmp_path / 'judge'}"]
    assert load_options(overrides=named).resolved == DESK
    (tmp_path / "policy" / "tokenizer.json").write_text("{}")
    assert load_options(overrides=named).resolved["ppo.learning_rate"] == 1e-6


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 512}, 256),
        ({"max_position_embeddings": 131072}, 512),
        ({"n_positions": 300}, 150),
        ({"max_position_embeddings": 8, "text_config": {"max_position_embeddings": 600}}, 300),
        ({}, 512),
        ({"max_position_embeddings": "many"}, 512),
        ([], 512),
    ],
)
def test_a_response_takes_half_of_the_policys_context_at_most(tmp_path, config, length):
    (tmp_path / "config.json").write_text(json.dumps(config))
    resolved = load_options(overrides=[f"policy.path={tmp_path}"]).resolved
    assert (resolved["sampling.max_new_tokens"], resolved["ppo.response_length"]) == (length, length)


def test_another_policy_gets_rates_and_lengths_of_an_ordinary_one_and_its_judge_stays():
    loaded = load_options(overrides=["policy.path=org/instruct-7b"])
    assert loaded.resolved == DESK | OWN_POLICY
    assert loaded.config.judge.template == "frontdesk_pair"


@pytest.mark.parametrize(("train", "rate"), [("all", 1e-6), ("lora", 1e-5), ("last_layers", 1e-6)])
def test_adapters_learn_faster_than_weights(train, rate):
    own = ["policy.path=org/instruct-7b", f"ppo.model.train={train}"]
    assert load_config(overrides=own).ppo.learning_rate == rate
    assert load_config(overrides=own[1:]).ppo.learning_rate == 7e-4


@pytest.mark.parametrize("method", ["sft", "ift", "irft", "dpo", "kto"])
def test_adapters_of_every_method_learn_ten_times_as_fast(method):
    own = ["policy.path=org/instruct-7b"]
    whole = getattr(load_config(overrides=own), method).learning_rate
    adapted = load_config(overrides=[*own, f"{method}.train=lora"])
    assert getattr(adapted, method).learning_rate == pytest.approx(10 * whole)
    assert adapted.ppo.learning_rate == 1e-6
    assert adapted.weights_of(method).train == "lora"
    assert adapted.weights_of("rft").train == adapted.weights_of("ppo").train == "all"


def test_a_separate_value_model_learns_at_a_rate_of_its_kind():
    separate = ["ppo.model.value_model=separate"]
    assert load_config(overrides=separate).ppo.model.value_learning_rate is None
    assert load_config(overrides=[*separate, "policy.path=org/m"]).ppo.model.value_learning_rate == 1e-5
    assert load_config(overrides=["policy.path=org/m"]).ppo.model.value_learning_rate is None


@pytest.mark.parametrize(
    "judge",
    ["{path: org/judge}", "{engine: openai, path: m}", "{engine: vllm, path: m}", '{engine: scripted, path: "a:b"}'],
)
def test_every_judge_but_the_front_desks_is_asked_by_pair(judge):
    assert parse_config(f"judge:\n  model: {judge}\n", where="x").judge.template == "pair"
    assert parse_config(f"judge:\n  template: rank\n  model: {judge}\n", where="x").judge.template == "rank"


@pytest.mark.parametrize(
    ("text", "templates"),
    [
        ("judge: {panel: [{model: {path: a}}]}", ["frontdesk_pair", "pair", "frontdesk_pair"]),
        ("judge: {model: {path: a}, panel: [{model: {path: frontdesk}}]}", ["pair", "frontdesk_pair", "pair"]),
        ("judge: {panel: [{model: {path: a}, template: cai}]}", ["frontdesk_pair", "cai", "frontdesk_pair"]),
        (
            "judge: {template: frontdesk_pair, panel: [{model: {path: a}}]}",
            ["frontdesk_pair", "pair", "frontdesk_pair"],
        ),
        ("judge: {template: mtbench, panel: [{model: {path: a}}]}", ["mtbench", "mtbench", "mtbench"]),
        ("evaluation: {judge: {model: {path: a}}}", ["frontdesk_pair", "pair"]),
        ("judge: {model: {path: a}}\nevaluation: {judge: {model: {path: frontdesk}}}", ["pair", "frontdesk_pair"]),
        ("judge: {template: frontdesk_score}\nevaluation: {judge: {model: {path: a}}}", ["frontdesk_score", "score"]),
    ],
)
def test_each_judge_of_a_panel_and_of_the_evaluation_has_a_template_that_it_can_read(text, templates):
    config = parse_config(text, where="x")
    evaluator = config.evaluation.judge.instead_of(config.judge)
    assert [judge.template for judge in (*config.judge.judges(), evaluator)] == templates


def test_what_is_given_holds_for_any_model_and_null_is_the_same_as_nothing():
    own = ["policy.path=org/m", "ppo.learning_rate=3e-6", "ppo.response_length=null"]
    loaded = load_options(overrides=own)
    assert (loaded.config.ppo.learning_rate, loaded.config.ppo.response_length) == (3e-6, 512)
    assert "ppo.learning_rate" not in loaded.resolved
    nothing = "".join(f"{option.dotted}=null\n" for option in describe_config(RunConfig) if option.follows).splitlines()
    assert load_options(overrides=nothing).resolved == DESK


def test_on_a_gpu_other_models_compute_in_bfloat16_and_the_policys_weights_stay_float32(monkeypatch):
    monkeypatch.setattr(load, "find_gpu", lambda: True)
    own = load_config(overrides=["policy.path=org/m", "judge.model.path=org/j"])
    assert (own.judge.model.dtype, own.ppo.model.compute_dtype, own.policy.dtype) == ("bfloat16", "bfloat16", "float32")
    on_cpu = load_config(overrides=["judge.model.path=org/j", "judge.model.device=cpu"])
    assert on_cpu.judge.model.dtype == "float32"
    assert load_options().resolved == DESK


def test_a_machine_whose_gpus_are_hidden_has_none():
    assert not find_gpu()


def test_what_was_resolved_is_said_in_a_line_for_each_model():
    policy, judge, demo = load_options(overrides=["policy.path=org/m", "judge.model.path=org/j"]).notes
    assert policy.startswith("not set, so as suits the policy org/m (all weights trained): ")
    assert "ppo.learning_rate 1e-06" in policy
    assert judge.startswith("not set, so as suits the judge org/j: ")
    assert "judge.template pair" in judge
    assert demo == "not set, so the demo's: constitution courteous_and_brief, prompts.path frontdesk"
    assert "dpo" not in policy, "options of methods that the run has not"
    [with_dpo, _] = load_options(overrides=["methods=[dpo]"]).notes
    assert "dpo.learning_rate 0.0002" in with_dpo
    assert [note.split(":")[0] for note in load_options().notes] == [
        "not set, so as suits the front desk's policy", "not set, so as suits the judge frontdesk",
    ]  # fmt: skip


def test_the_front_desks_template_for_another_judge_is_said_to_be_unreadable():
    notes = load_options(overrides=["judge.model.path=org/j", "judge.template=frontdesk_pair"]).notes
    assert any("holds no instruction" in note for note in notes)


def stored(*overrides: str):
    loaded = load_options(overrides=overrides)
    text = json.dumps({"config": loaded.config.model_dump(mode="json"), "resolved": loaded.resolved})
    return loaded, json.loads(text)


def test_a_run_resolves_again_what_follows_a_model_when_an_option_changes():
    loaded, kept = stored("policy.path=org/m", "ppo.num_steps=7")
    assert parse_stored(kept, where="c").config == loaded.config
    changed = parse_stored(kept, where="c", overrides=["ppo.model.train=lora"]).config.ppo
    assert (changed.learning_rate, changed.num_steps, changed.response_length) == (1e-5, 7, 512)


def test_a_run_keeps_what_it_resolved_on_another_machine_and_by_other_rules(monkeypatch):
    monkeypatch.setattr(load, "find_gpu", lambda: True)
    loaded, kept = stored("judge.model.path=org/j", "policy.path=org/m")
    kept["config"]["ppo"]["learning_rate"] = kept["resolved"]["ppo.learning_rate"] = 2e-6
    monkeypatch.setattr(load, "find_gpu", lambda: False)
    again = parse_stored(kept, where="c", overrides=["seed=3"])
    assert again.config.judge.model.dtype == loaded.config.judge.model.dtype == "bfloat16"
    assert again.config.ppo.learning_rate == again.resolved["ppo.learning_rate"] == 2e-6


def test_a_run_of_before_keeps_every_value_that_it_was_started_with():
    old = parse_config(
        "policy: {path: org/m}", where="x", overrides=["ppo.learning_rate=7e-4", "judge.template=frontdesk_pair"]
    )
    kept = {"config": json.loads(old.model_dump_json())}
    again = parse_stored(kept, where="c", overrides=["ppo.model.train=lora"])
    assert (again.config.ppo.learning_rate, again.config.judge.template, again.resolved) == (7e-4, "frontdesk_pair", {})


def test_the_defaults_of_the_classes_suit_no_model_of_half_a_million_parameters():
    plain = RunConfig()
    assert {name: value(plain, name) for name in OWN_POLICY} == OWN_POLICY
    assert plain.judge.template == "pair"


def test_the_preset_gives_the_template_before_any_model_does(tmp_path: Path):
    assert parse_options("preset: cai", where="x").config.judge.template == "cai"
    assert parse_options("preset: cai\njudge: {template: null}", where="x").config.judge.template == "frontdesk_pair"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/rlaif.yaml")), ids=lambda path: path.parent.name)
def test_every_config_of_the_examples_is_taken_and_trains_no_other_model_at_the_front_desks_rate(path):
    config = load_config(path)
    trains_adapters = config.ppo.model.train == "lora"  # which learn at higher rates than whole weights
    assert trains_adapters or (config.ppo.learning_rate > 2e-4) == (config.policy.path == "frontdesk")
    assert (config.judge.template == "frontdesk_pair") == (config.judge.model.path == "frontdesk")
