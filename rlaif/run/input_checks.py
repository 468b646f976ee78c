"""What each stage of a round reads from elsewhere -> compared with what the run's earlier stages and attempts read.

Called by a stage once it has its inputs and before it uses them. Loads nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rlaif.config.evaluation import is_built_in
from rlaif.config.judge import JudgeConfig
from rlaif.config.models import FRONTDESK
from rlaif.config.ppo_rewards import find_sources
from rlaif.constitution.render import JudgeTemplate
from rlaif.files.atomic import digest_file
from rlaif.records import Model, Prompt, Record, Sample
from rlaif.run.inputs import CONTENTS, NOTES, Input, expect_inputs, model_input, records_input
from rlaif.run.round import Round
from rlaif.run.stages import SAMPLES, SFT, Stage
from rlaif.run.world import find_measures

OUR_OWN = "rlaif."
"""Modules that come with rlaif are no inputs."""


def expect_prompts(round: Round, stage: Stage, prompts: Sequence[Prompt]) -> None:
    """Compare prompts of a file or data set, the same in every round. The front desk's come from the seed."""
    path = round.config.prompts.path
    if path != FRONTDESK:
        answers = [f"{prompt.id} {prompt.reference or ''}" for prompt in prompts]
        _expect(round, stage, [records_input("prompts.path", answers, path=path)])


def expect_further_prompts(round: Round, stage: Stage, prompts: Sequence[Prompt]) -> None:
    """Compare the prompts without responses that SEFT reads from a file or data set."""
    path = round.config.seft.prompts
    if path not in (None, FRONTDESK):
        _expect(round, stage, [records_input("seft.prompts", (prompt.id for prompt in prompts), path=path or "")])


def expect_policy(round: Round, stage: Stage, model: Model) -> None:
    """The model that the configuration names; after SFT it is the run's own, which its stage answers for."""
    if stage != SFT and (round.run.stage_dir(0, SFT) / "stage.json").is_file():
        return
    path = round.config.policy.path
    sampled_with = None if (round.run.path / NOTES).is_file() else _find_sampled_with(round)
    if sampled_with is not None:  # a run of an older rlaif, which noted nothing
        expect_inputs(
            round.run.path, round.run.stage_dir(0, SAMPLES), [model_input("policy.path", sampled_with, path=path)]
        )
    _expect(round, stage, [model_input("policy.path", model, path=path)])


def _find_sampled_with(round: Round) -> Model | None:
    """The policy of the samples of the run's first round; None where there are none, or they were recorded."""
    used = (
        "SELECT s.policy_id FROM uses AS u JOIN samples AS s ON s.id = u.record_id"
        " WHERE u.run = ? AND u.round = 0 AND u.stage = ? AND u.record_table = ? LIMIT 1"
    )
    page = round.ledger.rows(used, (round.run.name, SAMPLES.folder, Sample.table))
    model = round.ledger.get(Model, page[0][0]) if page else None
    return None if model is None or model.engine == "recorded" else model


def expect_judge(
    round: Round, stage: Stage, *, model: Model, config: JudgeConfig, template: JudgeTemplate, rewards: bool = False
) -> None:
    """One of the judges of the run, or that of the evaluation, and the template and principles that it is asked by.

    rewards: it is asked for PPO's rewards, by a template that may be another one than that of its labels.
    """
    judges = [judge.model for judge in round.config.judge.judges()]
    number = judges.index(config.model) + 1 if config.model in judges else None
    name = "evaluation.judge" if number is None else "judge" if number == 1 else f"judge.panel.{number - 2}"
    asked = Input(f"the {'reward ' if rewards else ''}template of {name}", config.template, {CONTENTS: template.digest})
    principles = Input("constitution", round.config.constitution, {CONTENTS: round.constitution.id})
    _expect(round, stage, [model_input(f"{name}.model.path", model, path=config.model.path), asked, principles])


def expect_preferences(round: Round, stage: Stage, *, digest: Callable[[], str], option: str = "reward_model") -> None:
    """Compare preferences that a path names. The run's own are checked by the stage that made them.

    option: the group of options with the path.
    """
    given = getattr(round.config, option).preferences
    if given is not None:
        _expect(round, stage, [Input(f"{option}.preferences", given, {CONTENTS: digest()})])


def expect_rewards(round: Round, stage: Stage, models: Iterable[tuple[str, str, Model]]) -> None:
    """Compare the sources of PPO's rewards: functions, and reward models as (name, path, model)."""
    functions = [source.function for source in find_sources(round.config.ppo.rewards) if source.function is not None]
    loaded = [model_input(f"the reward model {name}", model, path=path) for name, path, model in models]
    _expect(round, stage, [*loaded, *find_functions("ppo.rewards", functions)])


def expect_held_out_model(round: Round, stage: Stage, model: Model, *, path: str) -> None:
    """The reward model that PPO's evaluations ask and nothing trains on."""
    _expect(round, stage, [model_input("ppo.guards.held_out_model", model, path=path)])


def expect_measures(round: Round, stage: Stage) -> None:
    """The user's own measures."""
    functions = [spec for spec in find_measures(round.config) if not is_built_in(spec)]
    _expect(round, stage, find_functions("evaluation.measures", functions))


def expect_verifier(round: Round, stage: Stage) -> None:
    """The user's own functions that find answers and verify them."""
    config = round.config.verifier
    functions = [spec for spec in (config.answer, config.correct) if spec is not None]
    _expect(round, stage, find_functions("verifier", functions))


def expect_demonstrations(round: Round, stage: Stage, records: Iterable[Record]) -> None:
    """Compare the demonstrations that SFT learns from."""
    path = round.config.sft.demonstrations or ""
    _expect(round, stage, [records_input("sft.demonstrations", (record.id for record in records), path=path)])


def find_functions(option: str, specs: Iterable[str]) -> list[Input]:
    """Functions by the source of the module that holds them, which is imported by now."""
    found = []
    for spec in specs:
        module = sys.modules.get(spec.partition(":")[0])
        file = getattr(module, "__file__", None)
        if file is not None and not spec.startswith(OUR_OWN) and Path(file).is_file():
            found.append(Input(f"{option}, the function", spec, {"source": digest_file(Path(file))}))
    return found


def _expect(round: Round, stage: Stage, inputs: Sequence[Input]) -> None:
    if inputs and round.team.is_first:
        expect_inputs(round.run.path, round.find_folder(stage), inputs)
