"""A principle file and the judge that is configured -> whether that judge understands each principle.

The words are checked first, then the judge is loaded and asked about probe pairs. Prints progress alone and
refuses nothing that was asked: that is for who reads the result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlaif.config.generate import JudgeConfig
from rlaif.console import Progress, say
from rlaif.constitution.principles import PrincipleVocabulary
from rlaif.constitution.probe import MAX_FLIPS, Reading, probe_principles
from rlaif.constitution.probe_file import PROBE_FILE, Probe, find_probes, load_probes
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.constitution.template_rules import KINDS
from rlaif.errors import InputError
from rlaif.judging.ask_now import make_probe_judge
from rlaif.judging.modes import MODES
from rlaif.judging.setup import check_judge, find_judge_folder, find_vocabulary
from rlaif.models.open import open_judge
from rlaif.records import Constitution


class Probing(NamedTuple):
    """What a judge made of a constitution."""

    template: JudgeTemplate
    readings: Sequence[Reading]
    """Readings of the principles that have a weight; empty where nothing was asked."""
    vocabulary: PrincipleVocabulary | None
    """The words that the judge knows, where its folder lists them."""
    why_not: str = ""
    """Why nothing was asked."""


def probe_judge(
    constitution: Constitution,
    *,
    config: JudgeConfig,
    probes: Path | None = None,
    ask: bool = True,
    max_flips: float = MAX_FLIPS,
) -> Probing:
    """Check the words, then ask every probe pair under every principle in both orders.

    `probes`: the user's own pairs; without it those in the judge's folder. `ask`: False checks the words alone.
    Raises `InputError` where probes are given that cannot be asked.
    """
    template = load_template(config.template)
    check_judge(config, constitution=constitution, template=template)
    folder = find_judge_folder(config)
    path, why_not = _choose_probes(probes, folder, template=template, ask=ask)
    readings: list[Reading] = []
    if path is not None:
        readings = _ask(constitution, load_probes(path), config=config, template=template, max_flips=max_flips)
    return Probing(template, readings, find_vocabulary(folder), why_not)


def _choose_probes(
    given: Path | None, judge_dir: Path | None, *, template: JudgeTemplate, ask: bool
) -> tuple[Path | None, str]:
    """The file of probes, or why there is none."""
    if given is not None and not ask:
        raise InputError("--probes and --no-probe exclude each other", fix="leave one of them out")
    if MODES[template.kind].shows == "all":
        why_not = f"the template {KINDS[template.kind].does}, and probes are pairs"
        if given is not None:
            raise InputError(why_not, where=template.name, fix="choose a template of another kind with --template")
        return None, why_not
    if not ask:
        return None, "--no-probe"
    found = given or (find_probes(judge_dir) if judge_dir is not None else None)
    return found, "" if found else f"this judge brings no {PROBE_FILE}; give pairs of clear contrast with --probes FILE"


def _ask(
    constitution: Constitution,
    probes: Sequence[Probe],
    *,
    config: JudgeConfig,
    template: JudgeTemplate,
    max_flips: float,
) -> list[Reading]:
    """Load the judge and ask it; says what was asked and how long it took."""
    started = time.monotonic()
    of_each = "replies" if MODES[template.kind].shows == "one" else "orders"
    engine = open_judge(config)
    num_principles = sum(principle.weight > 0 for principle in constitution.principles)
    num_questions = 2 * len(probes) * num_principles
    with Progress("probes", num_questions, unit="questions") as progress:
        judge = make_probe_judge(
            engine,
            template=template,
            config=config,
            on_batch=lambda done, failed: progress.advance(done, failed=failed),
        )
        readings = probe_principles(constitution, probes=probes, judge=judge, max_flips=max_flips)
    say(
        f"probed in {time.monotonic() - started:.1f} s, loading included: {num_principles} principles x {len(probes)} "
        f"pairs x 2 {of_each} = {num_questions} questions"
    )
    return readings
