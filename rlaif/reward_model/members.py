"""One data set -> several reward models, trained one after the other, and the folder that holds them.

The members differ by their seed, and with `bootstrap` by the prompts that they are trained on. Each is trained as a
single model is, and resumed as one. Does not score responses.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from rlaif.config.reward_model import RewardModelConfig
from rlaif.errors import RunFolderError
from rlaif.files.atomic import replace_directory
from rlaif.ledger.sign_offs import StatedHead
from rlaif.models.weights.context import context_tokens_of
from rlaif.models.weights.loading import LoadedModel, load_causal_lm, load_reward_model
from rlaif.records import TrainingRow, digest_text
from rlaif.reward_model.data import encode_pairs
from rlaif.reward_model.ensemble import ENSEMBLE, member_dir, read_ensemble
from rlaif.reward_model.held_out import Ensemble, measure_held_out
from rlaif.reward_model.model import compute_rewards
from rlaif.reward_model.save import RESULTS
from rlaif.reward_model.train import TrainedRewardModel, train_reward_model
from rlaif.training.listener import NOBODY, Listener
from rlaif.training.team import ALONE, Team


def train_ensemble(
    *,
    base: LoadedModel | str | Path,
    train_rows: Sequence[TrainingRow],
    test_rows: Sequence[TrainingRow],
    config: RewardModelConfig,
    out_dir: Path,
    seed: int,
    dataset_digest: str = "",
    ledger_head: StatedHead | None = None,
    listener: Listener = NOBODY,
    team: Team = ALONE,
) -> TrainedRewardModel:
    """`train_reward_model` with resume, once for each of `config.num_members`, and `out_dir` with all of them.

    Members that are finished stand in `<out_dir>_members` until the last one is. The steps of the members follow one
    another in the log.
    """
    base = base if isinstance(base, LoadedModel) else load_causal_lm(str(base))
    finished = team.ask_first(lambda: find_ensemble(out_dir, config))
    parts = out_dir.with_name(f"{out_dir.name}_members")
    numbers, first_step = range(1, config.num_members + 1), 0
    members: list[TrainedRewardModel] = []
    for number in numbers:
        own = seed_of_member(seed, number)
        rows = draw_prompts(train_rows, seed=own) if config.bootstrap else train_rows
        member = train_reward_model(
            base=base,
            train_rows=rows,
            test_rows=test_rows,
            config=config.model_copy(update={"num_members": 1, "bootstrap": False}),
            out_dir=member_dir(out_dir, number) if finished else parts / f"member_{number}",
            seed=own,
            resume=True,
            dataset_digest=dataset_digest,
            ledger_head=ledger_head,
            listener=_later(listener, first_step, is_first=number == 1),
            team=team,
        )
        members.append(member._replace(loaded=members[0].loaded if members else member.loaded))
        first_step += count_steps(config, num_rows=len(rows))
    if finished is None and team.is_first:
        _put_together(parts, out_dir, _measure_members(members, test_rows, base=base, config=config))
    ensemble = team.ask_first(lambda: find_ensemble(out_dir, config))
    assert ensemble is not None, "it was put together"
    loaded = load_reward_model(str(out_dir))
    metrics = {**members[0].card.metrics, **ensemble.metrics}
    card = members[0].card.model_copy(
        update={
            "config": config.model_dump(mode="json"), "metrics": metrics, "accuracy": ensemble.held_out.accuracy,
            "model_id": loaded.fingerprint.id,
        }
    )  # fmt: skip
    return members[0]._replace(path=out_dir, loaded=loaded, card=card, held_out=ensemble.held_out)


def count_steps(config: RewardModelConfig, *, num_rows: int) -> int:
    """Optimizer steps for so many rows; a fit counts as one."""
    return 1 if config.train == "readout" else math.ceil(num_rows / config.batch_size) * config.num_epochs


def _later(listener: Listener, first_step: int, *, is_first: bool) -> Listener:
    """The same listener, for a training whose steps are counted from a later one."""

    def begin(step: int) -> None:
        if is_first or step > 1:
            listener.on_begin(first_step + step)

    return replace(
        listener,
        on_begin=begin,
        on_metrics=lambda done: listener.on_metrics(done._replace(step=first_step + done.step)),
    )


def _measure_members(
    members: Sequence[TrainedRewardModel],
    test_rows: Sequence[TrainingRow],
    *,
    base: LoadedModel,
    config: RewardModelConfig,
) -> Ensemble:
    """How the mean of the members orders the held-out rows, and how far they differ on the responses."""
    limit = min(config.max_length, context_tokens_of(base.model) or config.max_length)
    test = encode_pairs(test_rows, encoder=base.encoder, max_length=limit)
    found = torch.empty(len(members), len(test.sequences), dtype=torch.float64)
    with torch.no_grad():
        for row, member in enumerate(members):
            model = load_reward_model(str(member.path)).model
            found[row] = compute_rewards(model, test.sequences).double().cpu() - model.config.reward_mean
    return Ensemble(
        num_members=config.num_members,
        bootstrap=config.bootstrap,
        held_out=measure_held_out(test.pairs, found.mean(dim=0).tolist()),
        accuracies=tuple(m.held_out.accuracy.mean if m.held_out.accuracy else None for m in members),
        spread=float(found.std(dim=0, correction=0).mean()) if test.sequences else None,
    )


def seed_of_member(seed: int, number: int) -> int:
    """The first member has the training's seed, so that without a bootstrap it is the model that is trained alone."""
    return seed if number == 1 else int(digest_text(f"member\n{seed}\n{number}")[:8], 16)


def draw_prompts(rows: Sequence[TrainingRow], *, seed: int) -> list[TrainingRow]:
    """The rows of as many prompts drawn with replacement; those of a prompt drawn twice have twice their weight."""
    prompts = list(dict.fromkeys(row.prompt.id for row in rows))
    generator = torch.Generator().manual_seed(int(digest_text(f"bootstrap\n{seed}")[:15], 16))
    drawn = Counter(prompts[n] for n in torch.randint(len(prompts), (len(prompts),), generator=generator).tolist())
    return [
        row.model_copy(update={"weight": row.weight * drawn[row.prompt.id]}) for row in rows if drawn[row.prompt.id]
    ]


def find_ensemble(folder: Path, config: RewardModelConfig) -> Ensemble | None:
    """The finished ensemble in the folder, None where there is none; a folder with another one is refused."""
    found = read_ensemble(folder)
    as_wished = found is not None and (found.num_members, found.bootstrap) == (config.num_members, config.bootstrap)
    if not as_wished and (folder / RESULTS).is_file():
        raise RunFolderError(
            "the reward model there comes from a training with another number of members",
            where=str(folder),
            fix="put the options back, or remove this folder to train again",
        )
    return found


def _put_together(parts: Path, out_dir: Path, ensemble: Ensemble) -> None:
    """Write `out_dir` as a whole from the members' folders in `parts`, which are then removed."""
    numbers = range(1, ensemble.num_members + 1)
    with replace_directory(out_dir) as folder:
        for number in numbers:
            shutil.copytree(parts / f"member_{number}", member_dir(folder, number), dirs_exist_ok=True)
        (folder / ENSEMBLE).write_text(ensemble.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
        readme = folder / "README.md"
        readme.write_text(readme.read_text(encoding="utf-8") + _describe(ensemble), encoding="utf-8", newline="\n")
    for number in numbers:
        shutil.rmtree(parts / f"member_{number}")
    with suppress(OSError):
        parts.rmdir()


def _describe(ensemble: Ensemble) -> str:
    """The ensemble in the README of its folder."""
    accuracy = ensemble.held_out.accuracy
    said = "not measured" if accuracy is None else f"{accuracy.mean:.3f} (95 % interval {accuracy.low:.3f} to "
    said += "" if accuracy is None else f"{accuracy.high:.3f})"
    each = ", ".join("not measured" if one is None else f"{one:.3f}" for one in ensemble.accuracies)
    spread = "" if ensemble.spread is None else f" On a held-out response they differ by {ensemble.spread:.3f}"
    spread += "" if ensemble.spread is None else " (standard deviation)."
    return (
        f"\n## One of {ensemble.num_members} reward models\n\n"
        f"The folder is that of the first one; the others are `member_2` to `member_{ensemble.num_members}` in it.\n"
        f"The table above is about the first one. Held-out accuracy of the members' mean: {said}; of each: {each}.\n"
        f"{spread.strip()}\n"
    )
