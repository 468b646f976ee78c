"""Which pairs a test of an edit is about, and in which order, by hand values."""

from __future__ import annotations

from collections.abc import Mapping

from rlaif.preferences.diff import Key, PairChange, PairLabels
from rlaif.preferences.edit_plan import Plan, plan_test
from rlaif.records import EditItem, Sample


def make_labels(rows: Mapping[str, tuple[float | str, float | str]]) -> tuple[PairLabels, dict[str, Sample]]:
    """rows: prompt -> the label of its pair under the old and the new file, or why there is none."""
    samples: dict[str, Sample] = {}
    prompts: dict[Key, str] = {}
    old: dict[Key, float | str] = {}
    new: dict[Key, float | str] = {}
    for name, (before, after) in rows.items():
        one, other = (
            Sample(prompt_id=name, policy_id="x", index=k, finish_reason="stop", text=f"{name} " + "!" * k)
            for k in range(2)
        )
        key = (min(one.id, other.id), max(one.id, other.id))
        samples |= {one.id: one, other.id: other}
        prompts[key], old[key], new[key] = name, before, after
    return PairLabels(prompts, old, new), samples


ROWS: dict[str, tuple[float | str, float | str]] = {
    "turned": (0.9, 0.2), "kept": (0.9, 0.6), "to a tie": (0.3, 0.5), "failed": ("failed_judgement", 0.2),
    "failed now": (0.1, "failed_judgement"), "taken out": (0.9, 0.1),
} | {f"more {n}": (0.8, 0.1 if n % 2 else 0.9) for n in range(20)}  # fmt: skip


def plan(rows: Mapping[str, tuple[float | str, float | str]] = ROWS, *, seed: int = 0) -> Plan:
    labels, samples = make_labels(rows)
    changes = [
        PairChange(prompt_id=name, sample_ids=key, old_label=0.9, new_label=0.2, flipped_by=("brief",))
        for key, name in labels.prompts.items()
        if name == "turned"
    ]
    reasons = {key: "identical" for key, name in labels.prompts.items() if name == "taken out"}
    return plan_test(labels, changes=changes, samples=samples, reasons=reasons, seed=seed)


def winner(item: EditItem, verdict: str) -> str:
    """The sample that wins, whatever the sheet calls it."""
    return {"first": item.sample_ids[0], "second": item.sample_ids[1], "tie": "tie"}[verdict]


def test_flips_are_pairs_with_another_winner_and_failures_are_counted_by_file():
    found = plan()
    assert {item.prompt_id for item in found.flips} >= {"turned", "to a tie"}
    assert len(found.flips) == 12
    assert {item.prompt_id for item in found.rest} >= {"kept"}
    assert len(found.rest) == 11
    assert found.left_out == {"identical": 1}
    assert found.failed_old == found.failed_new == {"failed_judgement": 1}
    (turned,) = (item for item in found.flips if item.prompt_id == "turned")
    assert turned.flipped_by == ("brief",)
    first, second = sorted(turned.sample_ids)
    assert (winner(turned, turned.old), winner(turned, turned.new)) == (first, second)
    assert set(turned.lengths) == {len("turned "), len("turned !")}


def test_a_and_b_are_drawn_so_that_the_sheet_does_not_tell_the_new_side():
    news = [item.new for item in plan().flips if item.new != "tie"]
    assert {"first", "second"} == set(news)


def test_the_same_pairs_and_seed_give_the_same_plan_in_whatever_order_they_come():
    assert plan() == plan(dict(reversed(ROWS.items())))
    other = plan(seed=1)
    assert [item.prompt_id for item in other.flips] != [item.prompt_id for item in plan().flips]
    assert {item.prompt_id for item in other.flips} == {item.prompt_id for item in plan().flips}
