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
from rlaif.constitution.probe import MAX_FLIPS, Reading, choose_pairs, probe_principles
from rlaif.constitution.probe_file import PROBE_FILE, Probe, find_probes, load_probes
from rlaif.constitution.render import JudgeTemplate, load_template
from rlaif.constitution.selection import weighted_principles
from rlaif.constitution.template_rules import KINDS
from rlaif.errors import InputError
from rlaif.judging.ask_now import make_probe_judge
from rlaif.judging.modes import MODES
from rlaif.judging.setup import check_judge, find_judge_folder, find_vocabulary
from rlaif.models.open import open_judge
from rlaif.records import Constitution, Principle


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

    `probes`: the user's own pairs. Without it a principle is asked about its examples alone, and one that has none
    about the pairs in the judge's folder. `ask`: False checks the words alone.
    Raises `InputError` where probes are given that cannot be asked.
    """
    template = load_template(config.template)
    check_judge(config, constitution=constitution, template=template)
    folder = find_judge_folder(config)
    use_examples = probes is None and any(principle.examples for principle in weighted_principles(constitution))
    path, why_not = _choose_probes(probes, folder, template=template, ask=ask, use_examples=use_examples)
    readings: list[Reading] = []
    if not why_not:
        pairs = load_probes(path) if path is not None else []
        readings = _ask(
            constitution, pairs, config=config, template=template, max_flips=max_flips, use_examples=use_examples
        )
    return Probing(template, readings, find_vocabulary(folder), why_not)


def _choose_probes(
    given: Path | None, judge_dir: Path | None, *, template: JudgeTemplate, ask: bool, use_examples: bool
) -> tuple[Path | None, str]:
    """The file of probes, if there is one, and why nothing can be asked."""
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
    return found, "" if found or use_examples else (
        f"the principles have no examples, and this judge brings no {PROBE_FILE}; write `examples:` under each "
        "principle, or give pairs of clear contrast with --probes FILE"
    )


def _ask(
    constitution: Constitution,
    probes: Sequence[Probe],
    *,
    config: JudgeConfig,
    template: JudgeTemplate,
    max_flips: float,
    use_examples: bool,
) -> list[Reading]:
    """Load the judge and ask it; says what was asked and how long it took."""
    started = time.monotonic()
    of_each = "replies" if MODES[template.kind].shows == "one" else "orders"
    engine = open_judge(config)
    chosen = choose_pairs(constitution, probes=probes, use_examples=use_examples)
    num_questions = 2 * sum(len(pairs) for _, pairs in chosen)
    with Progress("probes", num_questions, unit="questions") as progress:
        judge = make_probe_judge(
            engine,
            template=template,
            config=config,
            on_batch=lambda done, failed: progress.advance(done, failed=failed),
        )
        readings = probe_principles(
            constitution, probes=probes, judge=judge, max_flips=max_flips, use_examples=use_examples
        )
    say(
        f"probed in {time.monotonic() - started:.1f} s, loading included: "
        f"{_describe_pairs(chosen, probes=probes)} x 2 {of_each} = {num_questions} questions"
    )
    return readings


def _describe_pairs(chosen: Sequence[tuple[Principle, Sequence[Probe]]], *, probes: Sequence[Probe]) -> str:
    """How many pairs were asked about: those of the probe file, and the principles' examples."""
    by_file = [pairs for _, pairs in chosen if pairs is probes and probes]
    by_examples = [pairs for _, pairs in chosen if pairs is not probes]
    parts = [f"{len(by_file)} principles x {len(probes)} pairs"] if by_file else []
    if by_examples:
        parts.append(f"{sum(map(len, by_examples))} examples of {len(by_examples)} principles")
    return " and ".join(parts)
