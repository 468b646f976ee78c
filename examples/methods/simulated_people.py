"""Plays the people who write demonstrations and give thumbs on the front desk. EVERY ROW IT WRITES IS SIMULATED.

    python simulated_people.py          writes demonstrations.jsonl and thumbs.jsonl beside itself

Demonstrations are right, friendly, calm and short. A thumb is drawn from the front desk's truth: a reply that is as
courteous and brief as the middle is up in half of the cases, one step better in 74 %. Asks no model.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.frontdesk.replies import draw_reply, make_demonstrations
from rlaif.frontdesk.truth import annotator_probability, measure
from rlaif.frontdesk.world import draw_scene

NUM_DEMONSTRATIONS, NUM_THUMBS = 400, 800
MIDDLE = 50.0


def write_demonstrations() -> Iterator[Mapping[str, Any]]:
    for row in make_demonstrations(seed=1, n=NUM_DEMONSTRATIONS):
        yield {"prompt": row.messages, "response": row.response}


def give_thumbs() -> Iterator[Mapping[str, Any]]:
    rng = random.Random("simulated thumbs")
    for _ in range(NUM_THUMBS):
        scene = draw_scene(rng)
        reply = draw_reply(scene, rng=rng)
        truth = measure(scene.messages(), reply)
        # The demo's constitution: courteous with weight 1, brief with weight 2.
        gap = (truth["courteous"] + 2 * truth["brief"]) / 3 - MIDDLE
        yield {"prompt": scene.messages(), "response": reply, "thumb": int(rng.random() < annotator_probability(gap))}


def write_all(folder: Path) -> None:
    for name, rows in (("demonstrations", write_demonstrations()), ("thumbs", give_thumbs())):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_all(Path(__file__).parent)
