"""Which policy is kept: the best evaluation's, the one after an alarm, and the checkpoint that training returns to.

Changes weights only to those of a checkpoint. Raises no alarm and evaluates nothing.
"""

from __future__ import annotations

from pathlib import Path

from rlaif.policy.ppo.checkpoint import (
    find_checkpoints,
    load_checkpoint,
    read_prefetched,
    read_progress,
    remove_checkpoint,
    step_of,
    write_checkpoint,
)
from rlaif.policy.ppo.guards import NUM_RECENT, Vitals
from rlaif.policy.ppo.progress import Progress
from rlaif.policy.ppo.start import Training
from rlaif.records import Alarm
from rlaif.stats.ranks import FLOAT32_TOLERANCE, find_highest


def add_vitals(history: tuple[Vitals, ...], vitals: Vitals) -> tuple[Vitals, ...]:
    """The first step's vitals and those of the newest steps, this one's last."""
    return (*history[:1], *(*history[1:], vitals)[-NUM_RECENT:]) if history else (vitals, vitals)


def find_best_step(progress: Progress) -> int | None:
    """Steps done when `guards.metric` was highest; among values equal but for rounding, the earliest."""
    name = f"eval/{progress.config.guards.metric}"
    known = [evaluation for evaluation in progress.evaluations if name in evaluation.numbers]
    if not known:
        return None
    known = sorted(known, key=lambda evaluation: evaluation.step)
    return known[find_highest([e.numbers[name] for e in known], tolerance=FLOAT32_TOLERANCE)].step


def answer_alarm(training: Training, progress: Progress, alarm: Alarm) -> Progress:
    """Training's progress after an alarm; its `ended` has a sentence where the alarm ended it."""
    guards = training.config.guards
    alarm = alarm.model_copy(update={"sentence": f"{alarm.sentence}; {_describe_rate(progress)}"})
    if guards.on_alarm == "lower_rate":
        rate_factor = progress.rate_factor * guards.alarm_factor
        answered = alarm.model_copy(update={"answer": f"the learning rate is {rate_factor:g} of what it was"})
        return progress.model_copy(update={"rate_factor": rate_factor, "alarms": (*progress.alarms, answered)})
    target = training.team.ask_first(lambda: _find_target(training.out_dir, progress))
    kept = read_progress(target)
    is_end = guards.on_alarm == "stop" or len(progress.alarms) >= guards.max_roll_backs or kept.step == progress.step
    kept = _go_back(training, target)
    if is_end:
        answer = f"training stops and the policy of step {kept.step} is kept"
        change: dict[str, object] = {"ended": f"after {alarm.step} steps {alarm.sentence}; {answer}"}
    else:
        # The KL coefficient of the checkpoint may hold earlier alarms' shares already.
        rate_factor = progress.rate_factor * guards.alarm_factor
        kl_coef = kept.kl_coef * kept.rate_factor / rate_factor
        answer = (
            f"training goes on from step {kept.step} with {rate_factor:g} of the learning rate and kl_coef {kl_coef:g}"
        )
        change = {"rate_factor": rate_factor, "kl_coef": kl_coef}
    answered = alarm.model_copy(update={"answer": answer})
    kept = kept.model_copy(update={**change, "alarms": (*progress.alarms, answered)})
    write_checkpoint(
        training.out_dir,
        learner=training.learner,
        optimizer=training.optimizer,
        progress=kept,
        prefetched=training.rollouts.stored(step=kept.step),
        team=training.team,
    )
    return kept


def _describe_rate(progress: Progress) -> str:
    """The learning rate in words: one too high is the usual reason for an alarm."""
    lowered = f", lowered to {progress.rate_factor:g} of it" if progress.rate_factor != 1 else ""
    return f"it learns at ppo.learning_rate {progress.config.learning_rate:g}{lowered}"


def is_quiet(progress: Progress, alarm: Alarm) -> bool:
    """Whether the same alarm lowered the learning rate a few steps ago: the lower rate takes a while to show."""
    guards = progress.config.guards
    return guards.on_alarm == "lower_rate" and any(
        earlier.name == alarm.name and alarm.step - earlier.step < guards.quiet_steps for earlier in progress.alarms
    )


def load_best(training: Training, progress: Progress) -> Progress:
    """Load the best policy where it is not the last one and the configuration keeps the best."""
    if not training.config.guards.keeps_best or progress.best_step in (None, progress.step):
        return progress
    target = training.team.ask_first(
        lambda: next(path for path in find_checkpoints(training.out_dir) if step_of(path) == progress.best_step)
    )
    load_checkpoint(target, learner=training.learner, optimizer=training.optimizer)
    return read_progress(target)


def describe_best(progress: Progress, kept: Progress) -> str:
    """Why another policy than the last one is kept."""
    name = f"eval/{progress.config.guards.metric}"
    numbers = {evaluation.step: evaluation.numbers.get(name) for evaluation in progress.evaluations}
    last = numbers.get(progress.step)
    at_end = "" if last is None else f" and {last:.4g} at the end"
    return f"the policy of step {kept.step} is kept: {name} was highest there, {numbers[kept.step]:.4g}{at_end}"


def _find_target(out_dir: Path, progress: Progress) -> Path:
    """The best checkpoint before this step, else the newest before it; where there is none, the newest of all.

    subtle: never this step's own checkpoint while there is an earlier one, even if it is the best: its policy gave the
    alarm.
    """
    checkpoints = find_checkpoints(out_dir)
    before = [path for path in checkpoints if step_of(path) < progress.step]
    best = [path for path in before if step_of(path) == progress.best_step]
    return (best or before or checkpoints)[-1]


def _go_back(training: Training, target: Path) -> Progress:
    training.team.ask_first(lambda: _remove_later(training.out_dir, than=target))
    load_checkpoint(target, learner=training.learner, optimizer=training.optimizer)
    training.rollouts.take_up(read_prefetched(target))
    return read_progress(target)


def _remove_later(out_dir: Path, *, than: Path) -> None:
    """Remove later checkpoints, the newest first: killed between two, training comes to the same alarm again."""
    for path in reversed(find_checkpoints(out_dir)):
        if step_of(path) > step_of(than):
            remove_checkpoint(path)
