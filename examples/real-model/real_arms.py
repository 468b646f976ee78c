"""One training of the table: a constitution and a seed -> both policies' replies to held-out prompts, in a file.

Runs in a process of its own, by the same stages as `rlaif run`; what is finished is read and not run again. A
training that was stopped continues. Draws no conclusions.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLACEBO = "placebo"
SCORES = "RLAIF_PLACEBO_SCORES"
Through = Literal["judge", "model"]


class Arm(NamedTuple):
    """One training to come."""

    name: str
    """The constitution's, or `placebo`."""
    constitution: str
    """A file, or a name from constitutions/."""
    seed: int
    through: Through
    """What gives PPO its rewards: the judge itself, or a reward model trained on its judgements."""
    out: Path
    """Folder of all trainings of the table."""
    settings: tuple[str, ...] = ()
    """Further options, as after `--set`."""

    @property
    def run_name(self) -> str:
        return f"{self.through}-{self.name}-s{self.seed}"

    @property
    def row_path(self) -> Path:
        return self.out / "rows" / f"{self.run_name}.json"

    @property
    def log_path(self) -> Path:
        return self.out / "logs" / f"{self.run_name}.log"


def train_arm(arm: Arm, *, threads: int) -> None:
    """Train, sample the replies, and write the row. All that is printed goes to the log."""
    arm.log_path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(arm.log_path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    sys.path.insert(0, str(HERE))  # for placebo.py
    if arm.name == PLACEBO:
        os.environ[SCORES] = str(_write_scores(arm))
    import torch

    torch.set_num_threads(threads)
    from rlaif import pipeline
    from rlaif.files.atomic import write_atomically
    from rlaif.loop.open_run import open_work

    started = time.monotonic()
    with open_work(load_arm(arm), run_name=arm.run_name, runs_dir=arm.out / "runs", resume=True) as work:
        pipeline.run_rounds(work)
        row = _collect(arm, work)
    row["seconds"] = time.monotonic() - started
    arm.row_path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arm.row_path, json.dumps(row, indent=1) + "\n")


def load_arm(arm: Arm) -> Any:
    """The settings of the training: those of its file, changed by what the table asks for."""
    from rlaif.config.load import load_config

    file = HERE / ("rlaif.yaml" if arm.through == "model" else "judge_reward.yaml")
    settings = [f"constitution={arm.constitution}", f"seed={arm.seed}", f"prompts.path={HERE / 'prompts.jsonl'}"]
    if arm.name == PLACEBO:
        settings.append('ppo.rewards=[{function: "placebo:shuffled"}]')
    return load_config(file, overrides=[*settings, *arm.settings])


def _write_scores(arm: Arm) -> Path:
    """The judge's scores of the training that the placebo's are taken from: the first arm of the same seed."""
    from rlaif.constitution.render import load_template
    from rlaif.judging.modes import contrast
    from rlaif.records import Judgement

    path = arm.out / "scores" / f"s{arm.seed}.json"
    if not path.is_file():
        from rlaif.ledger.store import Ledger
        from rlaif.run.stages import POLICY

        source = arm._replace(name=Path(arm.constitution).stem)
        with Ledger.open(arm.out / "runs" / "ledger.sqlite") as ledger:
            judged = ledger.used(source.run_name, 0, POLICY.folder, Judgement)
        template = load_template(load_arm(source).judge.template)
        scores = [contrast.worth([[judgement]], weights=[1.0], template=template) for judgement in judged]
        if not scores:
            raise SystemExit(f"there are no scores of {source.run_name} yet: train it before the placebo")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(scores))
    return path


def _collect(arm: Arm, work: Any) -> dict[str, Any]:
    """Both policies' replies by prompt, and the untouched model's log-likelihood of each by token."""
    from rlaif.records import PolicyCard, Sample
    from rlaif.run.stages import EVALUATION, POLICY
    from rlaif.sampling.stage import find_evaluation_prompts

    prompts = {prompt.id: prompt for prompt in find_evaluation_prompts(work.round, work.book)}
    samples = work.book.used(EVALUATION, Sample, round=0)
    [card] = work.book.used(POLICY, PolicyCard, round=0)
    start = work.shelf.policy("start").fingerprint.id
    nats = _read_by_start(work, prompts, samples)
    rows: list[dict[str, Any]] = []
    for key, prompt in prompts.items():
        row: dict[str, Any] = {"prompt": prompt.messages[-1].content, "start": [], "trained": []}
        for sample in samples:
            if sample.prompt_id == key:
                side = "start" if sample.policy_id == start else "trained"
                row[side].append(
                    {"text": sample.text, "ended": sample.finish_reason == "stop", "nats_by_token": nats[sample.id]}
                )
        rows.append(row)
    return {
        "arm": arm.name, "seed": arm.seed, "through": arm.through, "replies": rows,
        "num_steps": card.num_steps, "kl": card.metrics.get("objective/kl"), "stopped": card.stopped,
    }  # fmt: skip


def _read_by_start(work: Any, prompts: Mapping[str, Any], samples: Sequence[Any]) -> dict[str, float]:
    """Mean -log p by token of each reply under the policy that training began with, without any instruction."""
    from rlaif.models.interface import LIKELIHOODS
    from rlaif.models.local.engine import TransformersEngine
    from rlaif.models.readings import CUT_OFF, WHOLE
    from rlaif.records import Segment, SegmentedMessage

    engine = TransformersEngine(work.shelf.policy("start"))
    found: dict[str, float] = {}
    for at in range(0, len(samples), 32):
        part = samples[at : at + 32]
        chats = [
            (
                *prompts[sample.prompt_id].as_segments(),
                SegmentedMessage(
                    CUT_OFF if sample.finish_reason == "length" else WHOLE, (Segment(sample.text, False),)
                ),
            )
            for sample in part
        ]
        for sample, reply in zip(part, engine.score(chats, request=LIKELIHOODS), strict=True):
            found[sample.id] = -reply.likelihoods[0] / reply.response_tokens if reply.likelihoods else math.nan
    return found
