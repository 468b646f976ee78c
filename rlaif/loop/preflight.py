"""What a command was given, checked before torch is imported and a model is loaded: files, templates, functions,
addresses, model folders, and the place of the run.

Every check is the reader or check of the stage that needs the input, so that both refuse it with the same sentence.
Keeps nothing and writes nothing. What only a model or the hub can tell is checked later.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from rlaif.calibration.labels import check_principles
from rlaif.config.by_preferences import DpoConfig, KtoConfig
from rlaif.config.functions import load_function
from rlaif.config.generate import FRONTDESK, JudgeConfig
from rlaif.config.methods import BY_REWARDS, NEEDS
from rlaif.config.models import resolve_path
from rlaif.config.ppo_rewards import RUN, RewardConfig, find_sources
from rlaif.config.run import RunConfig
from rlaif.config.seft import SeftConfig
from rlaif.config.sft import SftConfig
from rlaif.constitution.principles import check_wording, load_constitution
from rlaif.constitution.render import load_template
from rlaif.errors import RunFolderError
from rlaif.evaluation.measures import check_measures
from rlaif.evaluation.verifier import load_verifier
from rlaif.files.rows import is_row_file, read_rows
from rlaif.judging.panel import check_mode, check_ranks, find_run_judges, load_reward_template, load_score_template
from rlaif.judging.recorded_columns import load_column_map
from rlaif.loop.people import check_asking
from rlaif.models.endpoint.address import find_reward_address
from rlaif.models.open import check_judge_engine, check_policy_engine, check_rollout_engine, engine_of
from rlaif.models.weights.model_folder import check_model_path, expand_path, find_model_folder
from rlaif.policy.preference_items import check_items, find_pairs, find_thumbs
from rlaif.preferences.people import load_labels
from rlaif.preferences.read import odd_preferences, read_preferences
from rlaif.preferences.stored_calibration import check_configured
from rlaif.records import Constitution
from rlaif.run.finished import read_stage
from rlaif.run.folder import RunFolder, refuse_run
from rlaif.run.stages import (
    EVALUATION,
    JUDGEMENTS,
    POLICY,
    PREFERENCES,
    PROMPTS,
    REWARD_MODEL,
    SAMPLES,
    SFT,
    STAGES,
    Stage,
)
from rlaif.sampling.prompts import read_demonstrations, read_prompts
from rlaif.sampling.stage import further_prompts


def check_new_run(config: RunConfig, *, run: str | None, runs_dir: Path, resume: bool) -> None:
    """The place of a run that is to be made, or with `resume` to be continued."""
    refuse_run(runs_dir, run, resume=resume)
    _check_can_write(runs_dir, option="--runs-dir")
    if config.ledger.path is None:
        return
    ledger = Path(config.ledger.path)
    _check_can_write(ledger.parent, option="ledger.path")
    if run is not None and ledger.resolve() == (runs_dir / run).resolve():
        raise RunFolderError(
            f'the ledger is to be the file "{ledger}", where the run\'s folder would be',
            fix="give another --run NAME, or another ledger.path",
        )


def find_open_stages(stages: Collection[Stage], *, run: RunFolder | None, num_rounds: int = 1) -> list[Stage]:
    """The given stages that are not finished in every round."""
    if run is None:
        return [*stages]
    folders = {stage: [run.stage_dir(number, stage) for number in range(num_rounds)] for stage in stages}
    return [stage for stage, of in folders.items() if any(read_stage(folder) is None for folder in of)]


def check_inputs(config: RunConfig, *, stages: Collection[Stage]) -> None:
    """What the stages that are still to be done will read. Raises the sentence that they would."""
    is_begun = not {PROMPTS, JUDGEMENTS} & set(stages)  # by then the ledger has the principles
    constitution = None if is_begun else load_constitution(config.constitution)
    evaluator = config.evaluation.judge.instead_of(config.judge)
    if JUDGEMENTS in stages:
        for judge in find_run_judges(config.judge):
            check_mode(config, template=judge.template)
            check_judge_place(judge.config, constitution)
    if EVALUATION in stages:
        check_mode(config, template=load_template(evaluator.template))
        check_judge_place(evaluator, constitution)
    if EVALUATION in stages or (POLICY in stages and config.ppo.guards.evaluate_every is not None):
        check_measures(config.evaluation.measures)
    if PREFERENCES in stages:
        labels = load_labels(config.human)
        if labels is not None and constitution is not None:
            check_principles(labels, constitution)
        check_configured(config, constitution)
        if constitution is not None:
            check_asking(config, constitution)
    learns_demonstrations = POLICY in stages and any(NEEDS[name] == "demonstrations" for name in config.chain.after)
    if SFT in stages or learns_demonstrations:
        _check_demonstrations(config.sft)
    if config.verifier.is_given and {SFT, POLICY, EVALUATION} & set(stages):
        load_verifier(config.verifier)
    if PROMPTS in stages and config.prompts.path != FRONTDESK and _is_here(config.prompts.path):
        read_prompts(config.prompts)
    given = config.reward_model.preferences
    if REWARD_MODEL in stages and given is not None and _is_here(given):
        odd = odd_preferences(given, at_most=config.reward_model.max_odd_rows)
        read_preferences(given, part=config.reward_model.split, odd=odd)
    if POLICY in stages and any(name in BY_REWARDS for name in config.chain.after):
        _check_ppo(config, evaluator=evaluator, constitution=constitution)
    if POLICY in stages:
        _check_given_preferences(config)
    if POLICY in stages and "seft" in config.chain.after:
        _check_revising(config, constitution)
    check_policy_engine(config.policy)


def check_recorded(samples: Path, judgements: Path, columns: Path) -> None:
    """The column map whole, and of each recorded file that its first row can be read."""
    named = load_column_map(columns)
    for path, wanted in ((samples, named.sample_columns), (judgements, named.judgement_columns)):
        next(read_rows(path, wanted=wanted), None)


def check_judge_place(config: JudgeConfig, constitution: Constitution | None) -> None:
    """Check a judge's address, script or folder, and the principles' words where the folder says which it knows."""
    check_judge_engine(config)
    path = resolve_path(config.model.path, part="judge")
    if engine_of(config.model).is_local and constitution is not None and expand_path(path).is_dir():
        check_wording(constitution, judge_dir=find_model_folder(path).folder)


def needed_stages(config: RunConfig) -> list[Stage]:
    """The stages of a whole round: what the rewards do not need is left out."""
    of_preferences = dict.fromkeys((SAMPLES, JUDGEMENTS, PREFERENCES), not config.needs_preferences)
    left_out = {SFT: not config.chain.before, **of_preferences, REWARD_MODEL: not config.trains_reward_model}
    return [stage for stage in STAGES if not left_out.get(stage, False)]


def _check_demonstrations(config: SftConfig) -> None:
    if config.demonstrations is not None and _is_here(config.demonstrations):
        read_demonstrations(config.demonstrations, split=config.split, max_odd_rows=config.max_odd_rows)


def _check_given_preferences(config: RunConfig) -> None:
    """The files that DPO, KTO and SEFT name: they can be read, and hold what the method learns from, of both kinds."""
    of_methods: dict[str, DpoConfig | KtoConfig | SeftConfig] = {
        "dpo": config.dpo, "kto": config.kto, "seft": config.seft,
    }  # fmt: skip
    for name in config.chain.after:
        options = of_methods.get(name)
        if options is None or options.preferences is None or not _is_here(options.preferences):
            continue
        odd = odd_preferences(options.preferences, at_most=options.max_odd_rows, option=name)
        rows = read_preferences(options.preferences, part=options.split, odd=odd, option=f"{name}.split")
        find = find_thumbs if name == "kto" else find_pairs
        check_items(find(rows, labels="hard" if isinstance(options, SeftConfig) else options.labels), name=name)


def _check_ppo(config: RunConfig, *, evaluator: JudgeConfig, constitution: Constitution | None) -> None:
    check_rollout_engine(config.ppo.rollout)
    judge = config.judge.judges()[0]
    for source in find_sources(config.ppo.rewards):
        if source.function is not None:
            load_function(source.function, what="reward", where="ppo.rewards")
        elif source.url is not None:
            find_reward_address(source.url, api_key_env=source.api_key_env, environ=os.environ)
        elif source.judge:
            check_ranks(config.ppo, template=load_reward_template(source, judge))
            check_judge_place(judge, constitution)
        elif source.model is not None and source.model != RUN:
            check_model_path(source.model, revision=source.revision)
    if config.ppo.guards.held_out_model is not None:
        check_model_path(config.ppo.guards.held_out_model)
    if config.ppo.guards.judge_every is not None:
        load_template(evaluator.template)
        check_judge_place(evaluator, constitution)


def _check_revising(config: RunConfig, constitution: Constitution | None) -> None:
    """SEFT's further prompts can be read, and the judge can score single responses."""
    judge, seft = config.judge.judges()[0], config.seft
    load_score_template(RewardConfig(judge=True, template=seft.template), judge)
    check_judge_place(judge, constitution)
    if seft.prompts not in (None, FRONTDESK) and _is_here(seft.prompts):
        read_prompts(further_prompts(config))


def _is_here(path: str) -> bool:
    """Whether rows are on this machine, or should be: a file that is missing is no data set of the hub."""
    return Path(path).exists() or is_row_file(Path(path))


def _check_can_write(folder: Path, *, option: str) -> None:
    """`folder` is a folder that can be written, or can be made."""
    place = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not place.is_dir():
        raise RunFolderError("this is no folder", where=str(place), fix=f"give another folder by {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunFolderError("this folder cannot be written", where=str(place), fix=f"give another one by {option}")
