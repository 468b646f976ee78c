"""A run's human labels and its judge's labels -> items and verdicts as the agreement report reads them.

The first of a pair is that of its canonical order, on people's side and on the judge's. Computes no figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlaif.calibration.agreement import choice_of
from rlaif.calibration.choices import Item, Key, PeopleRead, VerdictsRead
from rlaif.calibration.human_rows import chosen_in_order, pair_of
from rlaif.calibration.judged import Judged
from rlaif.records import TIE_BAND, HumanLabel, Tally, Verdict


def read_labelled(
    labels: Sequence[HumanLabel], judged: Judged, *, texts: Mapping[str, str]
) -> tuple[PeopleRead, VerdictsRead]:
    """Each labelled pair under each principle as an item, and the judge's verdict of it where it has one.

    texts: the samples' texts by id. Where people tie, a label of the judge near one half is a tie too.
    """
    is_drawn = all(label.inclusion_probability is not None for label in labels)
    items: dict[Key, Item] = {}
    for label in labels:
        pair = pair_of(label)
        key = (*pair, label.principle_id)
        item = Item(
            key=key,
            prompt=(label.prompt_id,),
            policies=None,
            choices={},
            weight=1 / (label.inclusion_probability or 1.0) if is_drawn else 1.0,
            principle=label.principle_id,
            words=_count_words(pair, texts),
        )
        items.setdefault(key, item).choices[label.annotator] = choice_of(chosen_in_order(label))
    band = TIE_BAND if any("tie" in item.choices.values() for item in items.values()) else 0.0
    verdicts: dict[Key, Verdict] = {
        key: choice_of(judged[pair, key[2]].p_first, band=band)
        for key in items
        if ((pair := (key[0], key[1])), key[2]) in judged
    }
    people = PeopleRead([*items.values()], Tally(num_in=len(labels)), is_drawn=is_drawn)
    return people, VerdictsRead(verdicts, {}, Tally(num_in=len(verdicts)))


def _count_words(pair: tuple[str, str], texts: Mapping[str, str]) -> tuple[int, int] | None:
    if not texts.keys() >= set(pair):
        return None
    return len(texts[pair[0]].split()), len(texts[pair[1]].split())
