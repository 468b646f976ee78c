"""A principle's own examples -> probe pairs: its good replies should win, and nothing else is known of them.

Which reply stands first is drawn by the texts, so that it is the good one in half of the pairs. Asks no judge.
"""

from __future__ import annotations

from rlaif.constitution.probe_file import Probe, Winner
from rlaif.records import Message, Principle, digest_text


def draw_example_probes(principle: Principle) -> list[Probe]:
    """A pair for each example, in their order; the good reply is the first of every second pair of the drawn order."""
    drawn = sorted(principle.examples, key=lambda example: digest_text(f"{example.prompt}\n{example.good}"))
    first = {example: number % 2 == 0 for number, example in enumerate(drawn)}
    probes = []
    for example in principle.examples:
        winner: Winner = "first" if first[example] else "second"
        replies = (example.good, example.bad) if first[example] else (example.bad, example.good)
        probes.append(
            Probe(
                (Message(role="user", content=example.prompt),),
                *replies,
                expected={principle.id: winner},
                only=(principle.id,),
            )
        )
    return probes
