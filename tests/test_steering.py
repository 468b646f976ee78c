"""The steering table: its figures on numbers a person can check, and one constitution and its flip for real."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from rlaif.constitution.principles import load_constitution, parse_constitution
from rlaif.errors import ConfigError, ConstitutionError
from rlaif.frontdesk.truth import ATTRIBUTES

CHECKOUT = Path(__file__).parents[1]
EXAMPLE = CHECKOUT / "examples" / "steering"
sys.path.insert(0, str(EXAMPLE))

from steer import SHIPPED, parse_arguments  # noqa: E402
from steer_plan import Planned, plan  # noqa: E402
from steer_plot import render_plot  # noqa: E402
from steer_pool import run_all  # noqa: E402
from steer_rows import shuffle_verdicts  # noqa: E402
from steer_show import Made, render_markdown, show_table  # noqa: E402
from steer_table import (  # noqa: E402
    Row,
    Start,
    Steered,
    Table,
    find_flips,
    read_asked,
    spread,
)
from steer_targets import as_json, check_targets  # noqa: E402

HALF = 50.0


def truth(**given: float) -> dict[str, float]:
    return dict.fromkeys(ATTRIBUTES, HALF) | given


def steered(name: str, *principles: tuple[str, str, int]) -> Steered:
    """(text, attribute, direction) of each principle; its id is its first word."""
    asked = [
        {"id": text.split()[0], "text": text, "attribute": attribute, "direction": direction}
        for text, attribute, direction in principles
    ]
    return Steered.model_validate({"name": name, "asked": asked})


KIND = steered("kind", ("be kind", "courteous", 1), ("be short", "brief", 1))
RUDE = steered("rude", ("be rude", "courteous", -1), ("be short", "brief", 1))


def table(
    *constitutions: Steered,
    start: dict[str, float],
    trained: dict[str, list[dict[str, float]]],
    best: dict[str, float] | None = None,
    placebo: list[dict[str, float]] | None = None,
) -> Table:
    """`trained`: name -> the truth of each seed."""
    rows = [
        Row(seed=seed, constitution=name, truth=values, best_of=best or start, figures={}, seconds={"ppo": 60.0})
        for name, by_seed in trained.items()
        for seed, values in enumerate(by_seed)
    ]
    rows += [
        Row(seed=seed, constitution=constitutions[0].name, placebo=True, truth=values, best_of=start, figures={},
            seconds={"ppo": 60.0})
        for seed, values in enumerate(placebo or [])
    ]  # fmt: skip
    num_seeds = len(next(iter(trained.values())))
    starts = [Start(seed=seed, truth=start, figures={}, seconds={"start": 30.0}) for seed in range(num_seeds)]
    return Table(tuple(constitutions), tuple(starts), tuple(rows), num_choices=4)


def turned_table(**changes: Any) -> Table:
    """Three seeds in which everything goes as asked: courteous 50 to 80 and to 20, brief 50 to 75."""
    trained = {
        "kind": [truth(courteous=c, brief=75.0) for c in (78.0, 80.0, 82.0)],
        "rude": [truth(courteous=c, brief=75.0) for c in (22.0, 20.0, 18.0)],
    }
    return table(KIND, RUDE, **({"start": truth(), "trained": trained} | changes))


def said(found: Table) -> dict[str, tuple[bool | None, str]]:
    return {target.what: (target.met, target.said) for target in check_targets(found)}


def find(found: Table, beginning: str) -> tuple[bool | None, str]:
    (one,) = [value for what, value in said(found).items() if what.startswith(beginning)]
    return one


def test_an_interval_is_students_t_over_the_seeds() -> None:
    found = spread([10.0, 20.0, 30.0])
    assert found.mean == 20
    assert found.interval is not None
    # standard error 10 / sqrt 3 = 5.774, t of 2 degrees of freedom 4.303
    assert (found.interval.low, found.interval.high, found.interval.n) == (
        pytest.approx(20 - 24.84, abs=0.01), pytest.approx(20 + 24.84, abs=0.01), 3,
    )  # fmt: skip
    assert spread([7.0]).interval is None


def test_a_change_is_counted_in_the_direction_that_the_principle_names() -> None:
    found = turned_table(best=truth(courteous=60.0)).named()
    assert [(move.constitution, move.asked.attribute, move.room) for move in found] == [
        ("kind", "courteous", 50), ("kind", "brief", 50), ("rude", "courteous", 50), ("rude", "brief", 50),
    ]  # fmt: skip
    assert found[0].change.values == (28, 30, 32)
    assert found[2].change.values == (28, 30, 32)
    assert (found[0].best_of.mean, found[2].best_of.mean) == (10, -10)


def test_a_table_in_which_everything_went_as_asked_meets_every_target() -> None:
    assert [met for met, _ in said(turned_table()).values()] == [True] * 4
    assert find(turned_table(), "rude turns courteous round against kind") == (
        True,
        "80 against 20, +60.0 [+50.1, +69.9] apart",
    )


def test_one_run_in_the_wrong_direction_misses_and_is_named() -> None:
    trained = {
        "kind": [truth(courteous=c, brief=75.0) for c in (80.0, 80.0, 49.0)],
        "rude": [truth(courteous=20.0)] * 3,
    }
    met, words = find(turned_table(trained=trained), "every named principle moves in the named direction")
    assert not met
    # rude leaves brief where it was, and no move is no move in the named direction
    assert words == "8 of 12; missed by be under kind (-1.0), be under rude (+0.0)"


def test_a_principle_without_room_need_not_move_far_but_is_not_to_move_back() -> None:
    start = truth(courteous=80.0)
    trained = {"kind": [truth(courteous=85.0, brief=75.0)] * 3, "rude": [truth(courteous=20.0, brief=75.0)] * 3}
    found = turned_table(start=start, trained=trained)
    assert [move.has_room for move in found.named()] == [False, True, True, True]
    assert find(found, "by at least 20 points") == (True, "3 of 3")
    assert find(found, "half of those by 30") == (False, "1 of 3")
    assert find(found, "every named principle")[0]


def test_a_far_mean_whose_interval_holds_zero_is_no_success() -> None:
    trained = {
        "kind": [truth(courteous=c, brief=75.0) for c in (51.0, 60.0, 100.0)],
        "rude": [truth(courteous=20.0, brief=75.0)] * 3,
    }
    met, words = find(turned_table(trained=trained), "by at least 20 points")
    assert not met
    assert words.startswith("3 of 4; missed by be under kind (+20.3 [")


def test_a_flip_that_stays_on_its_originals_side_did_not_turn() -> None:
    trained = {"kind": [truth(courteous=80.0)] * 3, "rude": [truth(courteous=60.0)] * 3}
    assert not find(turned_table(trained=trained), "rude turns courteous round")[0]


@pytest.mark.parametrize(
    ("moves", "met"),
    [((4.0, 4.1, 3.9), True), ((-20.0, 25.0, 20.0), True), ((7.0, 7.1, 6.9), False), ((6.0,), False), ((4.0,), True)],
)
def test_shuffled_verdicts_may_move_little_or_now_here_now_there(moves: tuple[float, ...], met: bool) -> None:
    trained = {name: [truth(courteous=c, brief=75.0)] * len(moves) for name, c in (("kind", 80.0), ("rude", 20.0))}
    found = turned_table(trained=trained, placebo=[truth(calm=50 + move) for move in moves])
    assert find(found, "shuffled verdicts move nothing")[0] is met


def test_one_seed_leaves_the_interval_open() -> None:
    trained = {"kind": [truth(courteous=80.0, brief=80.0)], "rude": [truth(courteous=20.0, brief=80.0)]}
    assert find(turned_table(trained=trained), "by at least 20 points") == (None, "4 of 4; one seed has no interval")
    trained["kind"] = [truth(courteous=60.0, brief=80.0)]
    assert find(turned_table(trained=trained), "by at least 20 points")[0] is False


def test_the_time_is_a_target_of_the_whole_table_only() -> None:
    assert check_targets(turned_table(), minutes=61.0)[-1].met is False
    assert check_targets(turned_table(), minutes=59.0)[-1].met is True
    assert not any("minutes" in what for what in said(turned_table()))


# -- constitutions -------------------------------------------------------------------------------


def constitution(text: str, tags: str) -> Steered:
    source = f"name: x\nprinciples:\n  - id: a\n    text: {text}\n    tags: [{tags}]\n"
    return read_asked(parse_constitution(source, where="x.yaml"), name="x")


def test_what_a_wording_wants_counts_more_than_a_tag_that_nobody_changed() -> None:
    (asked,) = constitution("Prefer the reply that is curt.", "courteous").asked
    assert (asked.attribute, asked.direction) == ("courteous", -1)


def test_a_text_outside_the_grammar_is_measured_by_its_tag() -> None:
    (asked,) = constitution("The polite reply is better.", "curt").asked
    assert (asked.attribute, asked.direction) == ("courteous", -1)
    with pytest.raises(ConstitutionError, match='principle "a" does not say which measure .*one tag of courteous'):
        constitution("The polite reply is better.", "manners")


def test_each_shipped_flip_turns_one_principle_and_keeps_the_other() -> None:
    shipped = [read_asked(load_constitution(name), name=name) for name in SHIPPED]
    assert find_flips(shipped) == list(
        zip(SHIPPED[::2], SHIPPED[1::2], ("courteous", "thorough", "discreet"), strict=True)
    )
    for original, flipped in zip(shipped[::2], shipped[1::2], strict=True):
        assert len({asked.text for asked in (*original.asked, *flipped.asked)}) == 3


def test_two_turned_principles_or_another_subject_are_no_flip() -> None:
    both = steered("both", ("be rude", "courteous", -1), ("be long", "brief", -1))
    other = steered("other", ("be calm", "calm", 1), ("be short", "brief", 1))
    same = steered("same", ("be polite", "courteous", 1), ("be short", "brief", 1))
    assert find_flips([KIND, both, other, same]) == []


# -- the placebo's verdicts ------------------------------------------------------------------------


def pair(number: int, verdict: float) -> dict[str, Any]:
    """Responses a<n> and b<n>; `verdict`: the probability that the first is better."""
    sides = [([f"a{number}"], f"id-a{number}"), ([f"b{number}"], f"id-b{number}")]
    (chosen, chosen_id), (rejected, rejected_id) = sides if verdict >= 0.5 else sides[::-1]
    label = max(verdict, 1 - verdict)
    return {"chosen": chosen, "chosen_id": chosen_id, "rejected": rejected, "rejected_id": rejected_id,
            "label": label, "score_margin": 1.0}  # fmt: skip


def verdict_of(row: dict[str, Any]) -> float:
    assert row["label"] >= 0.5
    assert row["chosen_id"] == f"id-{row['chosen'][0]}"
    assert row["rejected_id"] == f"id-{row['rejected'][0]}"
    return float(row["label"] if row["chosen_id"].startswith("id-a") else 1 - row["label"])


def test_shuffling_deals_the_same_verdicts_to_the_same_pairs_by_chance() -> None:
    given = [pair(number, number / 64) for number in range(64)]
    rows = shuffle_verdicts(given, seed=0)
    assert [{row["chosen"][0], row["rejected"][0]} for row in rows] == [{f"a{n}", f"b{n}"} for n in range(64)]
    dealt = [verdict_of(row) for row in rows]
    assert sorted(dealt) == [number / 64 for number in range(64)]
    assert sum(a == b for a, b in zip(dealt, (number / 64 for number in range(64)), strict=True)) < 8
    assert shuffle_verdicts(given, seed=0) == rows
    assert shuffle_verdicts(given, seed=1) != rows


# -- what people see -------------------------------------------------------------------------------


def markdown(found: Table) -> str:
    made = Made.of(found, command="steer", num_workers=2, wall_s=None)
    return render_markdown(found, check_targets(found), made=made)


def test_the_markdown_names_what_was_asked_and_marks_what_was_turned() -> None:
    lines = markdown(turned_table(placebo=[truth()] * 3)).splitlines()
    assert "| start | 50 ± 0 | 50 ± 0 | 50 ± 0 | 50 ± 0 | 50 ± 0 | 50 ± 0 | 50 ± 0 | 50 ± 0 |" in lines
    assert any(line.startswith("| `kind` | **▲ 80 ± 5** | 50 ± 0 | **▲ 75 ± 0** | 50 ± 0 |") for line in lines)
    assert any(line.startswith("| ↳ `rude` | ↻ **▼ 20 ± 5** | 50 ± 0 | **▲ 75 ± 0** |") for line in lines)
    assert any(line.startswith("| placebo: `kind`, verdicts shuffled | 50 ± 0 |") for line in lines)
    assert "| `rude` | “be rude” ▼ courteous | 50 | 20 ± 5 | +30.0 [+25.0, +35.0] | +28 | +0 |" in lines
    # nine rows of 60 s and three preparations of 30 s on two workers
    assert "Made by `steer` in 5 minutes (its rows together, over the workers), 2 workers of one thread; " in lines[-1]


def test_the_terminal_shows_start_original_and_flip_beside_each_other() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    found = turned_table()
    show_table(found, check_targets(found), console=console)
    text = console.export_text()
    assert re.search(r"courteous +50 ± 0 +▲ 80 ± 5 +↻ ▼ 20 ± 5", text)
    assert "rude, be: 50 to 20, as asked +30.0 [+25.0, +35.0]; best of 4 without training +0" in text


def test_the_plot_puts_each_mean_in_its_place_and_a_band_behind_what_is_named() -> None:
    svg = render_plot(turned_table(placebo=[truth()] * 3))
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    bands = {css: re.findall(rf'class="{css}" x="[\d.]+" y="(\d+)"', svg) for css in ("turn", "band")}
    assert len(bands["turn"]) == len(bands["band"]) == 1
    ticks = {said: float(x) for x, said in re.findall(r'<text x="([\d.]+)"[^>]*>(0|100)</text>', svg)[:2]}
    dots = [float(x) for x in re.findall(r'class="[ab]" cx="([\d.]+)"', svg)]
    width = ticks["100"] - ticks["0"]
    expected = ticks["0"] + 0.8 * width, ticks["0"] + 0.2 * width
    legend = 2
    assert dots[legend : legend + 2] == [pytest.approx(x, abs=0.2) for x in expected]
    assert "prefers-color-scheme:dark" in svg
    assert "kind: courteous 50 to 80" in svg


def test_a_name_from_a_file_is_no_markup_in_the_plot() -> None:
    evil = steered("<script>&", ("be kind", "courteous", 1))
    svg = render_plot(table(evil, start=truth(), trained={"<script>&": [truth(courteous=80.0)]}))
    assert "<script>" not in svg
    assert ElementTree.fromstring(svg) is not None


def test_the_json_holds_every_run_and_every_target() -> None:
    found = turned_table()
    stored = json.loads(json.dumps(as_json(found, check_targets(found))))
    assert [row["truth"]["courteous"] for row in stored["rows"]] == [78, 80, 82, 22, 20, 18]
    assert stored["named"][2]["change_as_asked"]["by_seed"] == [28, 30, 32]
    assert [target["met"] for target in stored["targets"]] == [True] * 4


# -- what is to be run -------------------------------------------------------------------------------

MINE = """name: mine
principles:
  - {id: courteous, text: Prefer the reply that is polite., tags: [courteous]}
  - {id: brief, text: The better reply is brief., tags: [brief]}
"""


def make_plan(folder: Path, source: str = MINE, *, config: str = "", placebo: bool = False, seeds: int = 1) -> Planned:
    (folder / "mine.yaml").write_text(source)
    (folder / "rlaif.yaml").write_text(config)
    return plan(
        [str(folder / "mine.yaml")],
        config_path=folder / "rlaif.yaml",
        num_seeds=seeds,
        placebo=placebo,
        out=folder / "out",
    )


def test_an_edited_file_or_setting_makes_another_run_and_the_same_ones_do_not(tmp_path: Path) -> None:
    def name(*given: Any, **named: Any) -> str:
        return make_plan(tmp_path, *given, **named).seeds[0][0].run_name

    assert name() == name()
    assert name().startswith("mine-")
    assert len({name(), name(MINE.replace("polite", "curt")), name(config="ppo: {num_steps: 3}")}) == 3


def test_a_word_that_the_judge_never_met_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match='"sarcastic"'):
        make_plan(tmp_path, MINE.replace("polite", "sarcastic"))
    assert not (tmp_path / "out").exists()


def test_prompts_without_known_truth_and_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known truth"):
        make_plan(tmp_path, config="prompts: {path: mine.jsonl}")
    (tmp_path / "courteous_and_brief.yaml").write_text(MINE)
    names = ["courteous_and_brief", str(tmp_path / "courteous_and_brief.yaml")]
    with pytest.raises(ConstitutionError, match='two of the constitutions are called "courteous_and_brief"'):
        plan(names, config_path=EXAMPLE / "rlaif.yaml", num_seeds=1, placebo=False, out=tmp_path)


def test_finished_rows_are_read_and_nothing_is_run(tmp_path: Path) -> None:
    planned = make_plan(tmp_path, placebo=True, seeds=2)
    for job in (job for jobs in planned.seeds for job in jobs):
        job.row_path.parent.mkdir(parents=True, exist_ok=True)
        row = Row(seed=job.seed, constitution=job.name, placebo=bool(job.shuffled_from), truth=truth(), best_of=truth(),
                  figures={}, seconds={})  # fmt: skip
        job.row_path.write_text(row.model_dump_json())
        job.start_path.write_text(Start(seed=job.seed, truth=truth(), figures={}, seconds={}).model_dump_json())
    finished = run_all(planned, num_workers=2, out=tmp_path / "out")
    assert [(row.seed, row.placebo) for row in finished.rows] == [(0, False), (0, True), (1, False), (1, True)]
    assert finished.num_found == 4
    assert not (tmp_path / "out" / "logs").exists()


def test_the_placebo_belongs_to_the_shipped_table_unless_asked_for() -> None:
    assert parse_arguments([]).placebo is None
    assert parse_arguments(["mine.yaml", "--placebo"]).placebo is True
    with pytest.raises(SystemExit):
        parse_arguments(["--seeds", "0"])


# -- for real ------------------------------------------------------------------------------------------


def run_steer(folder: Path, *args: str) -> tuple[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "steer.py"), *args], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    stored: dict[str, Any] = json.loads((folder / "runs" / "steering" / "steering.json").read_text())
    return done.stderr + done.stdout, stored


SMALL = """
prompts: {num_prompts: 12}
sampling: {num_samples: 2, num_pairs: 1}
reward_model: {num_epochs: 1}
ppo: {num_steps: 1, num_prompts_per_step: 2, num_samples_per_prompt: 2, num_reference_samples: 4}
evaluation: {num_prompts: 4, num_samples: 1, best_of: 2}
"""


@pytest.mark.heavy(minutes=1.5)
def test_a_small_table_is_interrupted_goes_on_and_is_not_made_twice(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ("courteous_and_brief", "--seeds", "1", "--jobs", "1", "--placebo", "--config", "small.yaml")
    logs = tmp_path / "runs" / "steering" / "logs"
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE / "steer.py"), *args], cwd=tmp_path, stderr=subprocess.PIPE
    ) as begun:
        deadline = time.monotonic() + 300
        while not list(logs.glob("*")):
            assert begun.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        begun.send_signal(signal.SIGINT)
        _, told = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert b"interrupted: what is finished is kept" in told
    assert b"Traceback" not in told

    said, stored = run_steer(tmp_path, *args)
    assert [(row["constitution"], row["placebo"]) for row in stored["rows"]] == [
        ("courteous_and_brief", False), ("courteous_and_brief", True),
    ]  # fmt: skip
    assert all(set(row["truth"]) == set(ATTRIBUTES) and row["figures"]["steps"] == 1 for row in stored["rows"])
    for name in ("steering.md", "steering.svg"):
        assert (tmp_path / "runs" / "steering" / name).stat().st_size > 1000

    said, again = run_steer(tmp_path, *args)
    assert "2 of 2 trainings were finished before" in said
    assert again["rows"] == stored["rows"]
    assert not again["minutes_by_the_clock"]


@pytest.mark.heavy(minutes=2.5)
def test_one_edited_word_turns_the_behaviour_round(tmp_path: Path) -> None:
    source = (CHECKOUT / "constitutions" / "frontdesk" / "courteous_and_brief.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(source.replace("is polite", "is curt"))
    _, stored = run_steer(tmp_path, "courteous_and_brief", "mine.yaml", "--seeds", "1")
    for move in stored["named"]:
        least = 20 if move["room"] >= 25 else 0
        assert move["change_as_asked"]["mean"] > least, move
    (turned,) = [target for target in stored["targets"] if "turns courteous round" in target["what"]]
    assert turned["met"], turned
