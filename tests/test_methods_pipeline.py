"""The commands with methods other than PPO: what a user types, what the run then holds, and what is refused."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import RlaifError, TrainingError
from rlaif.frontdesk.world import make_prompts
from rlaif.ledger.store import Ledger
from rlaif.models.weights.loading import load_reward_model
from rlaif.policy.methods import METHODS
from rlaif.policy.methods.revision_record import read_revisions
from rlaif.records import Judgement, PolicyCard, RewardModelCard
from rlaif.training.metrics import MetricsLog

CONFIG = """
prompts: {num_prompts: 10, test_fraction: 0.25}
sampling: {num_samples: 2, num_pairs: 1, max_new_tokens: 20}
reward_model: {num_epochs: 1}
sft: {batch_size: 4}
dpo: {batch_size: 4}
kto: {batch_size: 4}
ppo:
  num_steps: 2
  num_prompts_per_step: 4
  num_samples_per_prompt: 2
  response_length: 16
  num_reference_samples: 4
  guards: {num_prompts: 4}
evaluation: {num_prompts: 4, best_of: 0}
"""
EXAMPLES = Path(__file__).parents[1] / "examples" / "methods"
DEMONSTRATIONS = "".join(
    json.dumps({"prompt": f"When does museum {n} open?", "response": "Good morning! It opens at nine."}) + "\n"
    for n in range(4)
)


class Done(NamedTuple):
    returncode: int
    output: str


RunCli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCli:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rlaif.yaml").write_text(CONFIG)
    (tmp_path / "demonstrations.jsonl").write_text(DEMONSTRATIONS)

    def run(*args: str) -> Done:
        result = CliRunner().invoke(app, args, env={"COLUMNS": "200"})
        if isinstance(result.exception, RlaifError):
            return Done(result.exception.exit_code, result.exception.sentence)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.output)

    return run


def add(folder: Path, line: str) -> None:
    (folder / "rlaif.yaml").write_text(f"{CONFIG}\n{line}\n")


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def used_card(folder: Path, run: str) -> PolicyCard:
    with Ledger.open(folder / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [card] = ledger.used(run, 0, "6_policy", PolicyCard)
    return card


def test_one_method_is_trained_on_preferences_without_a_reward_model_and_evaluated(cli: RunCli, tmp_path: Path) -> None:
    assert cli("generate-prefs", "--run", "r").returncode == 0
    done = cli("train", "--method", "dpo")
    assert done.returncode == 0, done.output
    round_dir = tmp_path / "runs" / "r" / "round_00"
    assert not (round_dir / "5_reward_model").exists()
    assert (round_dir / "6_policy" / "model" / "model.safetensors").is_file()
    card = used_card(tmp_path, "r")
    assert (card.method, card.chain, card.reward_model_id) == ("dpo", ("dpo",), None)
    assert card.config["beta"] == 0.1
    assert {"loss", "accuracy", "margin"} <= set(MetricsLog(round_dir.parent / "metrics.jsonl").read("dpo")[0].numbers)
    assert cli("evaluate").returncode == 0
    page = (round_dir / "7_evaluation" / "report.html").read_text()
    assert "Policy (DPO)" in page
    assert "policy (DPO)" in page, "what it cost"
    other = cli("train", "--method", "kto")
    assert (other.returncode, "the run's methods are dpo, and kto is none of them" in other.output) == (2, True)
    assert cli("audit", "verify").returncode == 0


@pytest.mark.heavy
def test_a_chain_is_trained_link_by_link_and_each_begins_with_the_policy_before(cli: RunCli, tmp_path: Path) -> None:
    add(tmp_path, "methods: [sft, kto, rloo]")
    missing = cli("run", "--run", "r")
    assert "methods has sft, which learns demonstrations: name some by sft.demonstrations" in missing.output
    done = cli("run", "--run", "r", "--set", "sft.demonstrations=demonstrations.jsonl")
    assert done.returncode == 0, done.output
    round_dir = tmp_path / "runs" / "r" / "round_00"
    assert sorted(path.name for path in (round_dir / "6_policy").iterdir()) == ["01_kto", "02_rloo", "stage.json"]
    assert len({weights(round_dir / folder) for folder in ("0_sft", "6_policy/01_kto", "6_policy/02_rloo")}) == 3
    card = used_card(tmp_path, "r")
    assert (card.method, card.chain) == ("rloo", ("sft", "kto", "rloo"))
    assert card.trained_from_id == card.reference_model_id
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [before] = [
            PolicyCard.model_validate_json(row)
            for (row,) in ledger.rows("SELECT content FROM policies", ())
            if '"kto"' in row and '"rloo"' not in row
        ]
    assert before.model_id == card.trained_from_id
    readme = (round_dir / "6_policy" / "02_rloo" / "model" / "README.md").read_text()
    assert "Methods, each training the policy of the one before: SFT, KTO, RLOO." in readme
    page = (round_dir / "7_evaluation" / "report.html").read_text()
    assert "Policy (RLOO)" in page


@pytest.mark.heavy
def test_demonstrations_alone_train_a_chain_by_hand_and_rft_leaves_its_reward_model(
    cli: RunCli, tmp_path: Path
) -> None:
    """Each command trains one method."""
    (tmp_path / "rlaif.yaml").write_text(
        CONFIG.replace("sft: {batch_size: 4}", "sft: {batch_size: 4, demonstrations: demonstrations.jsonl}")
        + "methods: [ift, rft, irft]\nift: {num_epochs: 1}\nrft: {num_alternations: 1, policy_steps: 1}\n"
        + "irft: {num_sections: 1, num_epochs: 1}\n"
    )
    assert cli("generate-prefs", "--run", "r").returncode == 0
    early = cli("train", "--method", "rft")
    assert "rft begins with the policy of ift, which is not trained yet" in early.output
    for name in ("ift", "rft", "irft"):
        done = cli("train", "--resume", "--method", name)
        assert done.returncode == 0, done.output
    stage = tmp_path / "runs" / "r" / "round_00" / "6_policy"
    assert sorted(path.name for path in stage.iterdir() if path.is_dir()) == ["01_ift", "02_rft", "03_irft"]
    assert weights(stage / "02_rft") != weights(stage / "03_irft")
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        [scorer] = [
            RewardModelCard.model_validate_json(row) for (row,) in ledger.rows("SELECT content FROM reward_models", ())
        ]
        cards = {
            card.method: card
            for (row,) in ledger.rows("SELECT content FROM policies", ())
            for card in [PolicyCard.model_validate_json(row)]
        }
    assert cards["rft"].reward_model_id == scorer.model_id
    assert (cards["ift"].reward_model_id, cards["irft"].reward_model_id) == (None, None)
    assert cards["irft"].trained_from_id == cards["rft"].model_id
    assert cards["rft"].trained_from_id == cards["ift"].model_id == scorer.base_model_id
    saved = stage / "02_rft" / "reward_model"
    assert load_reward_model(str(saved), dtype="float32", device="cpu").fingerprint.id == scorer.model_id
    assert cli("audit", "verify").returncode == 0


@pytest.mark.heavy
def test_a_chain_by_hand_names_what_is_missing_and_a_resumed_one_keeps_what_is_done(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "methods: [dpo, kto]")
    assert cli("generate-prefs", "--run", "r").returncode == 0
    early = cli("train", "--method", "kto")
    assert "kto begins with the policy of dpo, which is not trained yet" in early.output
    assert "run `rlaif train --method dpo` first" in early.output

    def fail(task: object) -> None:
        raise TrainingError("the power went out", where="kto", fix="wait")

    kto = METHODS["kto"]
    monkeypatch.setitem(METHODS, "kto", kto._replace(train=fail))
    broken = cli("train", "--resume")
    assert "the power went out" in broken.output
    policy = tmp_path / "runs" / "r" / "round_00" / "6_policy"
    first = (policy / "01_dpo" / "model" / "model.safetensors").stat()
    monkeypatch.setitem(METHODS, "kto", kto)
    held = cli("train", "--resume", "--set", "dpo.beta=0.2")
    assert "dpo.beta: 0.1 -> 0.2" in held.output
    done = cli("train", "--method", "kto", "--resume")
    assert done.returncode == 0, done.output
    assert (policy / "01_dpo" / "model" / "model.safetensors").stat().st_mtime_ns == first.st_mtime_ns
    assert used_card(tmp_path, "r").chain == ("dpo", "kto")
    assert len(MetricsLog(tmp_path / "runs" / "r" / "metrics.jsonl").read("dpo")) > 0


@pytest.mark.heavy
def test_demonstrations_alone_are_learnt_without_preferences_and_compared_with_the_policy_before(
    cli: RunCli, tmp_path: Path
) -> None:
    add(tmp_path, "methods: [sft]")
    demonstrations = ("--set", "sft.demonstrations=demonstrations.jsonl")
    planned = cli("run", "--dry-run", *demonstrations)
    assert "no preferences are made" in planned.output
    assert "during training" not in planned.output
    done = cli("run", "--run", "r", *demonstrations)
    assert done.returncode == 0, done.output
    round_dir = tmp_path / "runs" / "r" / "round_00"
    assert [path.name for path in sorted(round_dir.iterdir())] == ["1_prompts", "6_policy", "7_evaluation"]
    assert "on demonstrations," in (round_dir / "6_policy" / "model" / "README.md").read_text()
    assert "Policy (SFT)" in (round_dir / "7_evaluation" / "report.html").read_text()


def test_given_preferences_are_read_and_refused_before_anything_begins(cli: RunCli, tmp_path: Path) -> None:
    thumbs = [{"prompt": f"Where is {n}?", "response": "There.", "thumb": 1} for n in range(3)]
    (tmp_path / "thumbs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in thumbs))
    for method, sentence in (("kto", "all 3 thumbs are good"), ("dpo", "dpo has no pair to learn from: in 3, kept 0")):
        add(tmp_path, f"methods: [{method}]")
        refused = cli("run", "--run", "r", "--set", f"{method}.preferences=thumbs.jsonl")
        assert refused.returncode != 0
        assert sentence in refused.output
    assert not (tmp_path / "runs" / "r").exists()


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_an_example_is_accepted_by_a_dry_run(cli: RunCli, tmp_path: Path, name: str) -> None:
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.jsonl", "runs"))
    runpy.run_path(str(tmp_path / "simulated_people.py"), run_name="__main__")
    planned = cli("run", "--config", f"{name}.yaml", "--dry-run")
    assert planned.returncode == 0, planned.output
    assert "nothing was written" in planned.output
    assert ("no preferences are made" in planned.output) == (name in ("sft", "ift", "irft", "rft", "reft", "kto"))


def test_a_method_and_a_stage_are_not_named_together(cli: RunCli) -> None:
    refused = cli("train", "--method", "dpo", "--stage", "policy")
    assert (refused.returncode, "--method and --stage both say what to train" in refused.output) == (2, True)


VERIFIER = """
verifier: {answer: finder:find_hour}
sft: {demonstrations: demonstrations.jsonl, batch_size: 4}
"""
FINDER = """
import re

def find_hour(prompt, response):
    found = re.findall(r"at (\\w+)", response)
    return found[-1] if found else None

def broken(prompt, response):
    return response.split("at ")[7]
"""


@pytest.fixture
def verified(cli: RunCli, tmp_path: Path) -> Path:
    """A folder with demonstrations, prompts with known answers, and a verifier."""
    (tmp_path / "finder.py").write_text(FINDER)
    questions = [{"prompt": f"When does museum {n} open?", "reference": "nine"} for n in range(10, 30)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    plain = CONFIG.replace("sft: {batch_size: 4}", VERIFIER).replace("num_prompts: 10, ", "path: prompts.jsonl, ", 1)
    (tmp_path / "rlaif.yaml").write_text(plain.replace("best_of: 0", "best_of: 0, num_votes: 4") + "methods: [reft]\n")
    return tmp_path


def test_a_verifier_that_is_missing_or_raises_is_refused_before_anything_is_made(cli: RunCli, verified: Path) -> None:
    for options, sentence in (
        (["verifier.answer=finder:find_our"], 'the module "finder" has no function "find_our"'),
        (["verifier.answer=seeker:find"], 'the module "seeker" of answer finder "seeker:find" cannot be imported'),
        (["verifier.answer=null"], "methods has reft, which learns from verified answers: name a function by"),
    ):
        refused = cli("run", "--run", "r", *(part for option in options for part in ("--set", option)))
        assert (refused.returncode, sentence in refused.output) == (2, True), refused.output
    assert not (verified / "runs" / "r").exists()
    idle = cli("run", "--dry-run", "--set", "methods=[sft]", "--set", "verifier.answer=null")
    assert "evaluation.num_votes does nothing without verifier.answer" in idle.output
    raises = cli("run", "--run", "r", "--set", "verifier.answer=finder:broken")
    assert raises.returncode == 1
    assert 'the answer finder "finder:broken" raised IndexError: list index out of range' in raises.output
    assert "finder.py:9" in raises.output


@pytest.mark.heavy
def test_reft_trains_before_sampling_and_the_reward_model_of_a_later_method_ranks_verified_answers(
    cli: RunCli, verified: Path
) -> None:
    done = cli("run", "--run", "r", "--set", "methods=[reft, rloo]", "--set", "sampling.num_samples=2")
    assert done.returncode == 0, done.output
    round_dir = verified / "runs" / "r" / "round_00"
    assert "by the verifier the demonstrations are 4 right; PPO asks 4 prompts" in done.output
    assert (round_dir / "0_sft" / "model" / "model.safetensors").is_file()
    assert used_card(verified, "r").chain == ("reft", "rloo")
    rows = MetricsLog(round_dir.parent / "metrics.jsonl").read("reft")
    assert [row.step for row in rows] == [1, 2, 3, 4]
    assert "objective/scores" in rows[-1].numbers
    page = (round_dir / "7_evaluation" / "report.html").read_text()
    for words in ("Right answers", "majority of 4", "best of 4 by the reward model"):
        assert words in page
    report = json.loads((round_dir / "7_evaluation" / "report.json").read_text())
    assert report["verified"]["num_samples"] == 4
    assert set(report["evaluation"]["figures"]) >= {"right_before", "right_by_vote_after", "right_by_reward_after"}
    assert cli("audit", "verify").returncode == 0


@pytest.mark.heavy
def test_revisions_of_unlabelled_prompts_are_recorded_learnt_and_evaluated(cli: RunCli, tmp_path: Path) -> None:
    chats = make_prompts(seed=99, n=6)
    (tmp_path / "free.jsonl").write_text("".join(json.dumps({"prompt": chat}) + "\n" for chat in chats))
    add(tmp_path, "methods: [seft]\nseft: {reviser_epochs: 15, num_rounds: 2, prompts: free.jsonl, batch_size: 4}")
    options = ("--set", "prompts.num_prompts=40", "--set", "sampling.max_new_tokens=40")
    planned = cli("run", "--dry-run", *options)
    assert "responses and revisions in SEFT, by the judge: at most 48 questions" in planned.output
    done = cli("run", "--run", "r", *options)
    assert done.returncode == 0, done.output
    policy = tmp_path / "runs" / "r" / "round_00" / "6_policy"
    revisions = list(read_revisions(policy))
    assert [one.round for one in revisions] == [1] * 6 + [2] * 6
    with Ledger.open(tmp_path / "runs" / "ledger.sqlite", read_only=True) as ledger:
        asked = [key for one in revisions for key in one.judgement_ids]
        assert len(asked) == 2 * 12
        assert set(ledger.find(Judgement, asked)) == set(asked), "each score can be looked up"
    assert used_card(tmp_path, "r").method == "seft"
    assert (
        "its own responses, revised by a reviser trained on pairs of this run"
        in (policy / "model" / "README.md").read_text()
    )
    assert "Policy (SEFT)" in (policy.parent / "7_evaluation" / "report.html").read_text()
    assert cli("audit", "verify").returncode == 0
