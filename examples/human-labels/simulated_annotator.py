"""Plays the person who labels, on the front desk, whose truth is known. EVERY LABEL IT WRITES IS SIMULATED.

    python simulated_annotator.py label          draws pairs of the newest run and writes labels.jsonl
    python simulated_annotator.py measure        the run's labels against the truth, before and after calibration

People's choices are drawn from the truth without bias: a gap of one step is decided 74 % of the time. Asks no model.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.frontdesk import truth
from rlaif.ledger.queries import find_constitution
from rlaif.ledger.store import Ledger
from rlaif.preferences.pairing import PairLabel, label_pairs
from rlaif.records import CalibrationCard, Comparison, Constitution, Preference, Prompt, Sample
from rlaif.run.folder import open_run

SIMULATED = "SIMULATED: drawn from the front desk's truth, no person was asked"


class Judged(NamedTuple):
    """A round of a run as it stands in the ledger."""

    prompts: Mapping[str, Prompt]
    samples: Mapping[str, Sample]
    constitution: Constitution
    labels: Mapping[tuple[str, str], PairLabel]
    """The judge's, as they came out of its comparisons."""
    preferences: list[Preference]
    calibrations: list[CalibrationCard]

    def gap(self, first_id: str, second_id: str) -> float:
        """By how much (-100..100) the first keeps the constitution better: its principles' gaps, by weight."""
        first, second = self.samples[first_id], self.samples[second_id]
        chat = self.prompts[first.prompt_id].as_chat()
        gaps = {
            principle.id: principle.weight
            * truth.truth_gap(chat, first.text, second.text, measure_name=principle.tags[0])
            for principle in self.constitution.principles
            if principle.weight > 0
        }
        return sum(gaps.values()) / sum(principle.weight for principle in self.constitution.principles)


def read_run(runs_dir: Path, name: str | None) -> Judged:
    run = open_run(runs_dir, name).name
    with Ledger.open(runs_dir / "ledger.sqlite", read_only=True) as ledger:
        constitution = find_constitution(ledger, run=run, round=0, stage="3_judgements")
        if constitution is None:
            raise SystemExit(f"run {run} was not judged yet: run `rlaif generate-prefs` first")
        return Judged(
            prompts={prompt.id: prompt for prompt in ledger.used(run, 0, "1_prompts", Prompt)},
            samples={sample.id: sample for sample in ledger.used(run, 0, "2_samples", Sample)},
            constitution=constitution,
            labels=label_pairs(ledger.used(run, 0, "3_judgements", Comparison), constitution=constitution),
            preferences=ledger.used(run, 0, "4_preferences", Preference),
            calibrations=ledger.used(run, 0, "4_preferences", CalibrationCard),
        )


def draw_labels(judged: Judged, *, num_labels: int, num_annotators: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows in rlaif's own columns: pairs drawn alike, shown in random order."""
    rng = random.Random(f"simulated annotator {seed}")
    pairs = sorted(judged.labels)
    num_pairs = min(len(pairs), num_labels // num_annotators)
    for pair in rng.sample(pairs, num_pairs):
        for annotator in range(1, num_annotators + 1):
            first_id, second_id = rng.sample(pair, 2)
            p_first = truth.annotator_probability(judged.gap(first_id, second_id))
            yield {
                "prompt_id": judged.samples[first_id].prompt_id,
                "first_id": first_id,
                "second_id": second_id,
                "annotator": f"simulated-{annotator}",
                "principle": "overall",
                "choice": "first" if rng.random() < p_first else "second",
                "simulated": True,
                "inclusion_probability": num_pairs / len(pairs),
                "note": SIMULATED,
            }


def measure(judged: Judged) -> Iterator[str]:
    """Accuracy against the truth, on the pairs that nobody labelled and whose truth is not a tie."""
    yield "against the front desk's SIMULATED truth, pairs that were not labelled and on which the truth decides:"
    rows = [p for p in judged.preferences if p.source == "judge" and judged.gap(*p.sample_ids) != 0]
    raw = [judged.labels[p.sample_ids[0], p.sample_ids[1]].p_first for p in rows]
    for name, labels in (("as judged", raw), ("as trained on", [p.label for p in rows])):
        gaps = [judged.gap(*p.sample_ids) for p in rows]
        right = sum((label - 0.5) * gap > 0 for label, gap in zip(labels, gaps, strict=True))
        off = sum(abs(label - truth.annotator_probability(g)) for label, g in zip(labels, gaps, strict=True))
        share, error, n = right / len(rows), off / len(rows), len(rows)
        yield f"{name:>14}: {share:.1%} right, {error:.3f} away from the true probability on average, n {n}"
    for card in judged.calibrations:
        before, after = card.before.share, card.after.share
        yield f"agreement with the labels: {before.mean:.1%} before, {after.mean:.1%} after, n {card.before.n}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["label", "measure"])
    parser.add_argument("--run", help="name of the run; the newest by default")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--labels", type=Path, default=Path("labels.jsonl"), help="file to write")
    parser.add_argument("--num-labels", type=int, default=200)
    parser.add_argument("--num-annotators", type=int, default=1, help="who all label the same pairs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    judged = read_run(options.runs_dir, options.run)
    if options.what == "measure":
        print(*measure(judged), sep="\n")
        return
    rows = list(
        draw_labels(judged, num_labels=options.num_labels, num_annotators=options.num_annotators, seed=options.seed)
    )
    options.labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"wrote {len(rows)} SIMULATED labels to {options.labels}")


if __name__ == "__main__":
    main()
