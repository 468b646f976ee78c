"""benchmarks/results/*.json -> docs/measured.md: what each result file measured, with its command and machine.

`python docs/generate.py` writes the page. Nothing is measured here, and no figure of a result file is written here.
A result file without a section stops the page from being made, so that no measurement is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
Result = dict[str, Any]
"""The content of one result file."""

HEAD = """# Measured

Made by `make docs` from the files in [benchmarks/results](../benchmarks/results). Each table names the command that
writes its file, and the machine as far as the file notes it. **Every figure comes from two cores of an x86-64 CPU
under Linux; none was measured on a GPU.** A target is the figure that this project set itself beforehand; where a cell
is empty, there was none. Figures that a test asserts, and have no file, are on [limits.md](limits.md).

The front desk is the small world that comes with the repository. Its truth is simulated: a function that measures
replies, and that never trains the policy. Its judge is measured on [its card](../rlaif/frontdesk/judge/README.md),
which `python benchmarks/frontdesk_judge.py --write-cards` writes.
"""


class Row(NamedTuple):
    """One line of a table, as text."""

    what: str
    measured: str
    target: str = ""


class Section(NamedTuple):
    """A section of the page: the table that is made from one result file."""

    title: str
    result: str
    """Name of the file, without its ending."""
    rows: Callable[[Result], list[Row]]
    more: str = ""
    """A caution beside the table, and a link to the page that has more."""


def steering_rows(result: Result) -> list[Row]:
    return [Row(target["what"], target["said"], "met" if target["met"] else "missed") for target in result["targets"]]


def real_model_rows(result: Result) -> list[Row]:
    found = []
    for arm in result["arms"]:
        name = f"{arm['arm']}, {len(arm['seeds'])} seed{'s' if len(arm['seeds']) > 1 else ''}"
        name += " by a reward model" if arm["through"] == "model" else ""
        if arm["instrument"] is None:
            found.append(Row(name, arm["verdict"], "within the noise"))
            continue
        move = arm["moved"][arm["instrument"]["measure"]]
        said = (
            f"{move['before']:.1f}, {move['change']:+.1f} ({move['low']:+.1f} to {move['high']:+.1f}): {arm['verdict']}"
        )
        said += f"; perplexity x {arm['perplexity_ratio']:.2f}"
        found.append(Row(name, said, "moved as asked, x 1.3 at most"))
    return found


def calibration_rows(result: Result) -> list[Row]:
    raw = result["raw"]
    rows = [
        Row("without labels", f"{raw['accuracy']:.1%} right by the truth; {raw['error']:.3f} off the true probability")
    ]
    for labels, figures in result["by_labels"].items():
        rows.append(
            Row(
                f"{labels} labels",
                f"{figures['accuracy']['mean']:.1%} right; {figures['error']['mean']:.3f} off; "
                f"calibration error {figures['ece_above_oracle']:.3f} above the truth's own",
                "4 points more right; at most .02 above" if labels == "100" else "",
            )
        )
    return rows


def people_rows(result: Result) -> list[Row]:
    rows = []
    for world, found in result["worlds"].items():
        rows += [
            Row(f"{world}: {arm}", f"{figures['mean']:.1%} (deviation {100 * figures['sd']:.1f})")
            for arm, figures in found["arms"].items()
        ]
        chosen = ", ".join(f"{weight} in {num}" for weight, num in found["weights_chosen"].items())
        rows.append(Row(f"{world}: weights chosen", f"{chosen}; labels corrected in {found['corrected']}"))
        rows += [Row(f"{world}: {way}, against one source", _gains(gains)) for way, gains in found["gains"].items()]
    return [*rows, *_target_rows(result)]


def _gains(gains: Mapping[str, float]) -> str:
    return (
        f"{100 * gains['over_judge']:+.2f} points over the judge, {100 * gains['over_people']:+.2f} over people, "
        f"{gains['gap_closed']:.1%} of the way"
    )


def _target_rows(result: Result) -> list[Row]:
    """Both sources together, against the targets."""
    whats = {
        "over_judge": "over the judge alone", "over_people": "over people alone",
        "gap_closed": "of the way from the judge alone to people on every pair",
    }  # fmt: skip

    def said(name: str, value: float) -> str:
        return f"{value:.1%}" if name == "gap_closed" else f"{100 * value:+.2f} points"

    return [
        Row(
            f"both, corrected or weighed: {whats[name]}",
            f"{said(name, one['value'])}, {'met' if one['met'] else 'missed'}", said(name, one["least"]),
        )
        for name, one in result["targets"].items()
    ]  # fmt: skip


def example_rows(result: Result) -> list[Row]:
    def said(name: str, one: Mapping[str, float]) -> str:
        if name in ("people's rows", "held-out pairs"):
            return f"{one['mean']:.0f}"
        return f"{one['mean']:.1%}" + (f" [{one['low']:.1%}, {one['high']:.1%}]" if "low" in one else "")

    return [*(Row(name, said(name, one)) for name, one in result["arms"].items()), *_target_rows(result)]


def policy_rows(result: Result) -> list[Row]:
    names = [name for name in result["truth"] if name in ("confident", "calm", result["unnamed"], "thorough")]
    rows = [
        Row(
            f"{name}{', which no principle names' if name not in ('confident', 'calm') else ''}",
            f"from {one['start']:.0f} to {one['judge']:.0f} by the judge's labels, to {one['people']:.0f} by both",
        )
        for name in names
        for one in [result["truth"][name]]
    ]
    return [*rows, *(Row("the report says", said) for said in result["said"])]


def probe_rows(result: Result) -> list[Row]:
    return [
        Row(
            f"{figures['n']} wordings, {name}",
            f"passed {figures['passed_undeclared']:.0%}, wrongly {figures['wrongly_passed_undeclared']:.0%}; "
            f"with a tag {figures['passed_declared']:.0%}, wrongly {figures['wrongly_passed_declared']:.0%}",
        )
        for name, figures in result["lists"].items()
    ]


def constitution_rows(result: Result) -> list[Row]:
    judges = result["judges"]
    return [
        Row(
            principle,
            "; ".join(
                f"{judge}: {row['right']} of {row['n']}" for judge, one in judges.items()
                for row in [one["principles"][principle]]
            ) + f"; the longer reply: {first['longer']} of {first['n']}",
        )
        for principle, first in next(iter(judges.values()))["principles"].items()
    ]  # fmt: skip


def mode_rows(result: Result) -> list[Row]:
    together = [
        {**figures, "mode": f"{figures['principles']} principles, {figures['mode']}"}
        for figures in result["principles"]
    ]
    return [
        Row(
            figures["mode"],
            f"{figures['questions']:,} questions; right: {figures['clear_right']:.1%} of {figures['clear']:,} clear "
            f"pairs, {figures['close_right']:.1%} of {figures['close']:,} close ones",
        )
        for figures in [*result["modes"], *together]
    ]


def served_rows(result: Result) -> list[Row]:
    endpoint, peers = result["endpoint"], result["peers"]
    targets, floor, ours = endpoint["targets"], endpoint["floor_aiohttp_alone"], endpoint["rlaif"][-1]
    memory = result["memory"]["memory"]
    rows = [
        Row("aiohttp alone, replies dropped", _rate(floor["replies_per_s"], floor["client_cpu_ms_each"])),
        Row(
            "rlaif, each judgement on the disk before it counts",
            _rate(ours["durable_judgements_per_s"], ours["client_cpu_ms_each"]),
            f"{targets['durable_judgements_per_s']}/s, {targets['client_cpu_ms_each']:g} ms",
        ),
    ]
    rows += [
        Row(f"{name} {peer['version']}", _rate(peer["judgements_per_s"], peer["client_cpu_ms_each"]))
        for name, peer in peers.items()
        if isinstance(peer, dict) and "version" in peer
    ]
    held = f"{memory[1]['rest_mib']:.0f} MiB after {memory[1]['judgements']:,} judgements, "
    held += f"{memory[-1]['rest_mib']:.0f} MiB after {memory[-1]['judgements']:,}"
    return [*rows, Row("rlaif's memory beside SQLite's page cache", held)]


def local_rows(result: Result) -> list[Row]:
    names = {"with_reasons": "with reasons", "after_given_reasons": "verdicts after given reasons"}
    return [
        Row(
            name,
            f"{result[part]['times_the_plain_way']:.1f} times as fast; {result[part]['share_of_floor']:.0%} of the "
            f"arithmetic floor; {result[part]['verdicts']['verdicts_that_differ']} of "
            f"{result[part]['verdicts']['pairs']} verdicts differ",
            f"{result[part]['target']:g} times, no verdict",
        )
        for part, name in names.items()
    ]


def generate_rows(result: Result) -> list[Row]:
    what = f"{result['samples']:,} responses, {result['judgements']:,} judgements with reasons"
    measured = f"{result['seconds']:.1f} s; the arithmetic alone {result['floor_seconds']:.1f} s"
    return [Row(what, measured, f"{result['target_seconds']} s")]


def ledger_rows(result: Result) -> list[Row]:
    writer, floor = result["writer"], result["floor"]
    return [
        Row(
            f"{result['rows']:,} judgements in groups of 64",
            f"{writer['rows_per_s']:,}/s, {writer['cpu_us_per_row']:.0f} µs of CPU each",
            f"{result['target_rows_per_s']:,}/s",
        ),
        Row(
            "bare SQLite, the same bytes and indexes",
            f"{floor['rows_per_s']:,}/s, {floor['cpu_us_per_row']:.0f} µs of CPU each",
        ),
    ]


def verify_rows(result: Result) -> list[Row]:
    floor = result["floor"]["rows_per_s"]
    return [
        Row(f"`audit verify` of {result['rows']:,} rows", f"{result['rows_per_s']:,} rows/s", "50,000 rows/s"),
        Row("reading the same rows and texts, and one sha256 of each", f"{floor:,} rows/s"),
    ]


def proof_rows(result: Result) -> list[Row]:
    num, before, after = result["mutations"], result["up_to_the_signed_head"], result["after_it"]
    return [
        Row(
            "rows up to the signed head rewritten, with the signatures",
            f"{before['found_with_signatures']:,} of {num:,} found; {before['different']:,} different records",
            "all",
        ),
        Row("the same records, without a signature", f"{before['found_without']:,} of {num:,} found", "none"),
        Row(
            "rows after the signed head rewritten, with the signatures",
            f"{after['found_with_signatures']:,} of {num:,} found; {after['different']:,} different records",
            "none",
        ),
    ]


def million_rows(result: Result) -> list[Row]:
    append, floor, pages, targets = result["append"], result["floor"], result["pages"], result["targets"]
    page = f"{pages['alone']['worst_median_ms']:.0f} ms; "
    page += f"{pages['beside_a_writer']['worst_median_ms']:.0f} ms beside a writer"
    return [
        Row("appended in groups of 64", f"{append['rows_per_s']:,} rows/s", f"{targets['rows_per_s']:,} rows/s"),
        Row("bare SQLite, the same bytes and indexes", f"{floor['rows_per_s']:,} rows/s"),
        Row("a page of `audit list`, the slowest of all filters", page, f"{targets['page_ms']} ms"),
        Row("the file", f"{result['file_mib']:,} MiB"),
    ]


def audit_rows(result: Result) -> list[Row]:
    pages, targets, checked = result["pages"], result["targets"], result["verify"]
    beside, size = pages["beside_a_writer"]["pages"], f"{result['judgements']:,} judgements, {result['rows']:,} rows"
    rows = [
        Row(
            name,
            f"{figures['cpu_median_ms']:g} ms, p95 {figures['cpu_p95_ms']:g} ms of CPU; waited for: p95 "
            f"{figures['p95_ms']:.0f} ms",
            f"p95 {targets['page_p95_ms']} ms",
        )
        for name, figures in beside.items()
    ]
    size += "" if result["judgements"] >= 1_000_000 else "; a million were not measured yet"
    first = "no browser" if pages["first_page_s"] is None else f"{pages['first_page_s']:.2f} s"
    return [
        Row("the ledger", size, "1,000,000 judgements"),
        *rows,
        Row("first page in a browser", first, f"{targets['first_page_s']} s"),
        Row("most memory of the server", f"{pages['memory_mib']:.0f} MiB", f"{targets['memory_mib']} MiB"),
        Row(
            "`audit verify`",
            f"{checked['rows_per_cpu_s']:,} rows per second of CPU; {checked['rows_per_s']:,} rows/s",
            f"{targets['verify_rows_per_s']:,} rows/s",
        ),
        Row("load of the machine before and after", f"{result['load'][0]:g} and {result['load_after'][0]:g}"),
    ]


def spot_check_rows(result: Result) -> list[Row]:
    rows = []
    for cell in result["cells"]:
        what = f"{'focused' if cell['design'] == 'focus' else 'even'} draws, the judge is {cell['world']}"
        if cell["world"].startswith("a fifth"):
            what = what.replace("the judge is a fifth ties", "people tie on a fifth")
        false = f"{cell['false_above']:.1%} above, {cell['false_below']:.1%} below"
        rows.append(
            Row(
                what,
                f"false bounds {false}; closed sets' intervals cover {cell['covered']:.1%}, width {cell['width']:.3f} "
                f"(without strata and the list {cell['plain_covered']:.1%}, {cell['plain_width']:.3f})",
                "at most 6.5 %; 93.5 to 97 %",
            )
        )
    looked = max(cell["looked_at_wrong"] for cell in result["cells"] if cell["design"] == "even")
    bare = min(cell["unweighted_covered"] for cell in result["cells"] if cell["design"] == "focus")
    rows.append(Row("control: Wilson's interval looked at after every label", f"{looked:.1%} wrong", "above 6.5 %"))
    rows.append(Row("control: a focused draw without its weights", f"covers {bare:.1%}", "below 93.5 %"))
    return rows


def people_edit_rows(result: Result) -> list[Row]:
    rows = []
    for cell in result["false"]:
        false = f"{cell['false_better']:.1%} better, {cell['false_worse']:.1%} worse"
        rows.append(Row(f"false certificates, looked at after every label: {cell['world']}", false, "at most 6.5 %"))
    skips = result["skips"]
    rows.append(
        Row(
            "three in ten unfavourable flips skipped, and counted against the edit",
            f"{skips['skips_counted_against']:.1%} false",
            "at most 6.5 %",
        )
    )
    rows.append(Row("control: the same, and dropped", f"{skips['skips_dropped']:.1%} false", "above 6.5 %"))
    looked = result["wilson_looked_at"]
    rows.append(Row("control: Wilson's bound looked at after every label", f"{looked:.1%} false", "above 6.5 %"))
    for cell in result["labels"]:
        ties = ", a fifth of the flips ties" if cell["ties"] else ""
        labels = f"{cell['flips']:.0f} on flips ({cell['flips_p90']:.0f} in nine of ten), "
        labels += f"{cell['random']:.0f} on random pairs ({cell['random_p90']:.0f})"
        target = "at most 1.3 times a sixth" if cell["theta"] <= 0.8 else ""
        rows.append(
            Row(f"labels until certified, people take the new side in {cell['theta']:.0%}{ties}", labels, target)
        )
    return rows


def kill_rows(result: Result) -> list[Row]:
    twice = result["asked_twice_after_a_kill"]
    return [
        Row("acknowledged answers asked for again", f"{result['acknowledged_repeated']}", "0"),
        Row(
            "questions asked twice after a kill",
            f"{twice['mean']:.0f} in the mean, {twice['most']} at most",
            f"at most {twice['allowed']}, those under way and those waiting for their commit",
        ),
    ]


def torture_rows(result: Result) -> list[Row]:
    return [
        Row(
            part["what"] + (f", {part['more']['kills_in_all']:,} kills" if "kills_in_all" in part["more"] else ""),
            f"{part['tried']:,} tried, {len(part['faults'])} with a fault",
            "none with a fault",
        )
        for part in result["parts"].values()
    ]


def ray_rows(result: Result) -> list[Row]:
    return [
        Row(
            name,
            f"{figures['judgements_per_s']:,.1f}/s; {figures['driver_cpu_ms_each']:.2f} ms of the driver's CPU each; "
            f"first answer after {figures['seconds_to_the_first_answer']:.0f} s",
        )
        for name, figures in result["results"].items()
    ]


def ppo_rows(result: Result) -> list[Row]:
    memory, floor = result["memory"], result["floor"]
    share, target = result["learning"]["share_of_what_can_be_gained"], "no less than TRL, within the sampling error"
    return [
        *(_step_row(name, case) for name, case in result["cases"].items()),
        Row(
            "a step's seconds over those of the multiply-adds that it must do",
            f"{floor['times_the_floor']:.1f}; "
            + ", ".join(f"{name} {phase['times_the_floor']:.1f}" for name, phase in floor["phases"].items()),
        ),
        Row(
            f"{result['learning']['steps']} steps on a reward that counts tokens, one seed",
            f"{share['ours']:.1%} of what can be gained; TRL {share['trl']:.1%}",
            target,
        ),
        Row(
            f"memory for log-probabilities at a vocabulary of {memory['vocab']:,}",
            f"{memory['times_less']:.0f} times less than with full logits",
            "10 times",
        ),
    ]


def _step_row(name: str, case: Result) -> Row:
    ours, trl = (case["seconds_per_step"][side] for side in ("ours", "trl"))
    share = case["peak_mib"]["ours"] / case["peak_mib"]["trl"]
    target = "" if case["target"] is None else f"{case['target']:g} times"
    measured = f"{case['times']:.1f} times as fast, {ours:.2f} s and {trl:.2f} s; {share:.2f} of TRL's peak memory"
    return Row(f"a step, {name}", measured, target)


def real_step_rows(result: Result) -> list[Row]:
    targets = ", ".join(f"{phase} {target:g}" for phase, target in result["targets"].items())
    return [
        Row(
            f"a step's seconds over those of the products that it must do, `train: {name}`",
            f"{run['times_the_floor']:.2f}, {run['seconds']:.1f} s; "
            + ", ".join(f"{phase} {figures['times_the_floor']:.2f}" for phase, figures in run["phases"].items()),
            targets if name in ("lora", "last_layers") else "",
        )
        for name, run in result["runs"].items()
    ]


def demo_rows(result: Result) -> list[Row]:
    steps = {side: result["runs"][0][side]["steps"] for side in ("demo", "longer")}
    seeds = len(result["runs"])
    return [
        Row(
            f"the demo's {steps['demo']} steps against {steps['longer']}, {seeds} seed{'s' if seeds > 1 else ''}",
            f"{result['share']:.1%} of the gain in KL-regularised reward",
            f"{result['target']:.0%}",
        )
    ]


def ift_rows(result: Result) -> list[Row]:
    arms = result["reversal"]["arms"]
    rows = [Row(
        "lambda .5 without propagation: self-fed loss below SFT's", f"{result['self_fed_lowered_by']:.1%}",
        f"{result['target']:.0%}",
    )]  # fmt: skip
    for name, arm in arms.items():
        gold, fed, exact = (arm[field] for field in ("gold_nll", "self_fed_nll", "exact"))
        rows.append(Row(
            f"reversal, {name}, {len(fed['runs'])} seeds",
            f"self-fed loss {fed['mean']:.3f} (sd {fed['sd']:.3f}), loss {gold['mean']:.3f}, exact {exact['mean']:.1%}",
        ))  # fmt: skip
    for walks, arms in result["frozen_lake"]["from_scratch"].items():
        rows.append(Row(f"Frozen Lake, {walks}", describe_distances(arms)))
    rows.append(Row(
        "Frozen Lake, one optimal and one longer walk, then the optimal one",
        describe_distances(result["frozen_lake"]["after_one_optimal_and_one_longer_walk"]),
    ))  # fmt: skip
    return rows


def describe_distances(arms: dict[str, Any]) -> str:
    return "; ".join(f"{name} {arm['mean']:.4f} (sd {arm['sd']:.4f})" for name, arm in arms.items())


def over_optimisation_rows(result: Result) -> list[Row]:
    return [
        Row(
            "without guards, truth after its peak",
            f"loses {result['fall']:.0%} of its gain",
            f"{result['targets']['fall']:.0%} or more",
        ),
        Row(
            "kept with `ppo.guards.on_alarm: roll_back`",
            f"{result['kept']:.0%} of the gain at the peak",
            f"{result['targets']['kept']:.0%}",
        ),
        Row("kept by default, `on_alarm: stop`", f"{result['kept_by_stopping']:.0%} of the gain at the peak"),
    ]


def round_rows(result: Result) -> list[Row]:
    return [
        Row(
            f"{name}, round by round",
            ", ".join(f"{one['mean']:.3g} [{one['low']:.3g}, {one['high']:.3g}]" for one in rounds),
        )
        for name, rounds in result["table"].items()
    ]


def choosing_rows(result: Result) -> list[Row]:
    rows = [
        Row(f"the longer reply wins, {name}", _share(length["right"], length["num_decided"]))
        for name, length in result["length"].items()
    ]
    return rows + [
        Row(f"{cell['judge']}, {cell['mode']}, {cell['data']}", _share(cell["right"], cell["num_decided"]))
        for cell in result["cells"].values()
        if cell["right"] is not None
    ]


def _share(estimate: Result, num_pairs: int) -> str:
    return f"{estimate['mean']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}] right of {num_pairs} pairs"


def _rate(per_s: float, cpu_ms: float) -> str:
    return f"{per_s:,.0f}/s, {cpu_ms:.1f} ms of the client's CPU each"


def curve_rows(result: Result) -> list[Row]:
    rows = []
    for name, curve in result["curves"].items():
        for point in curve["points"]:
            found = point["accuracy"]
            share = "-" if found is None else f"{found['mean']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
            what = f"{name}, {point['prompts']} prompts, {point['pairs']} pairs, seed {point['seed']}"
            rows.append(Row(what, f"{share}; {point['cpu_s']:g} CPU s", "70 % with all prompts"))
    return rows


def coverage_rows(result: Result) -> list[Row]:
    rows = []
    for cell in result["cells"]:
        said = f"covers {cell['coverage']:.1%}; {cell['width_over_people']:.2f} of the width by people alone, which "
        said += f"covers {cell['people_coverage']:.1%}"
        for name, title in (("glide", "GLIDE"), ("ppi_python", "ppi-python")):
            if (peer := cell.get(name)) is not None:
                said += f"; {title} covers {peer['coverage']:.1%} at {peer['width'] / cell['width']:.2f} of this width"
        least = "92.5" if cell["labels"] == 30 else "93.5"
        target = f"{least} to 97 %: {'met' if cell['held'] else 'missed'}; at most 1.03"
        rows.append(Row(f"{result['worlds'][cell['world']]['title']}, {cell['labels']} labels", said, target))
    rows += [
        Row(f"mistake: {control['what']} ({control['world']}, {control['labels']} labels)",
            f"covers {control['coverage']:.1%}", f"at most {control['most']:.0%}")
        for control in result["controls"]
    ]  # fmt: skip
    return rows


def anytime_rows(result: Result) -> list[Row]:
    rows = [
        Row(
            f"{'mistake: ' if case['control'] else ''}{case['world']}: {case['what']}",
            f"{case['false_certificates']:.1%} certified falsely",
            f"{'above' if case['control'] else 'at most'} 6.5 %",
        )
        for case in result["cases"]
    ]
    return rows + [
        Row(
            f"width at {w['labels']} labels, true share .8",
            f"{w['sequence']:.3f}; Wilson's at a fixed n {w['wilson']:.3f}",
        )
        for w in result["widths"]
    ]


def recorded_rows(result: Result) -> list[Row]:
    rows = [
        Row(
            f"{cell['what']}; {cell['judge']}; resampled: {cell['resampled']}",
            f"covers {cell['coverage']:.1%}, width {cell['width']:.3f}; labels alone {cell['people_coverage']:.1%}, "
            f"{cell['people_width']:.3f}: worth {cell['times_as_many_labels']:.2f} times as many labels",
            f"93 to 97 %, narrower: {'met' if cell['met'] else 'missed'}",
        )
        for cell in result["cells"]
    ]
    return rows + [
        Row(
            f"mistake: the mean of {control['judge']} itself, {control['what']}",
            f"covers {control['coverage']:.1%}", "below 93 %",
        )
        for control in result["controls"]
    ]  # fmt: skip


def recorded_edit_rows(result: Result) -> list[Row]:
    rows = [
        Row(
            f"{cell['data']}, {cell['judge']}, {cell['answers']}: {cell['turned']} of {cell['pairs']} verdicts turned, "
            "half of them for the better",
            f"false certificates {cell['false_better']:.1%} better, {cell['false_worse']:.1%} worse",
            "at most 6.5 %",
        )
        for cell in result["false"]
    ]
    return rows + [
        Row(
            f"{cell['data']}, {cell['judge']}: people take the new side in {cell['theta']:.0%}",
            f"{cell['flips']:.0f} labels on flips, {cell['random']:.0f} on random pairs: {cell['times_the_share']:.2f} "
            "times the share of flips",
            "at most 1.3 times" if cell["theta"] <= 0.8 else "",
        )
        for cell in result["labels"]
    ]


def desk_edit_rows(result: Result) -> list[Row]:
    rows = []
    for cell in result["cells"]:
        said = f"theta {cell['theta']:.2f}; certified better {cell['better']:.1%}, worse {cell['worse']:.1%}; false "
        said += f"{cell['false_better']:.1%}, {cell['false_worse']:.1%}"
        if cell["times_the_share"] is not None:
            said += f"; {cell['labels']:.0f} labels on flips and {cell['uniform_labels']:.0f} of the uniform share, "
            said += (
                f"{cell['random_labels']:.0f} on random pairs: {cell['times_the_share']:.2f} times the share of flips"
            )
        what = f"{cell['edit']}: {cell['what']}; {cell['flips']} of {cell['pairs']} flip, people right in "
        what += f"{cell['people_right']:.0%}"
        rows.append(Row(what, said, "false at most 6.5 %; 1.3 times" if 0.2 <= cell["theta"] <= 0.8 else "false 6.5 %"))
    return rows


def labels_rows(result: Result) -> list[Row]:
    rows = []
    for row in result["rows"]:
        first = row["first_draw"]
        by_both, alone = (_share_of(first[name]) for name in ("estimate", "people"))
        rows.append(
            Row(
                f"{row['judge']}, {row['mode']}, {row['data']}: right on {row['right']:.1%} of {row['pairs']} pairs",
                f"by 100 labels {by_both}, by labels alone {alone}; mean width {row['width']:.3f}, "
                f"{row['people_width']:.3f}; log loss {row['log_loss_before']:.3f}, calibrated "
                f"{row['log_loss_after']:.3f}, by length alone {row['log_loss_by_length']:.3f}",
            )
        )
    return rows


def _share_of(estimate: Result) -> str:
    return f"{estimate['mean']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"


def people_calibration_rows(result: Result) -> list[Row]:
    rows = [
        Row(f"without labels, {name}", f"error {raw['error']:.3f}, right {raw['right']:.1%}")
        for name, raw in result["raw"].items()
    ]
    rows += [
        Row(
            f"{cell['labels']} labels",
            f"error {cell['error']:.3f}, right {cell['right']:.1%}; with the kind of map known "
            f"{cell['error_known_kind']:.3f}",
        )
        for cell in result["cells"]
    ]
    return rows + [
        Row(f"100 labels against {name}", f"{one['value']:.1f} times lower", f"{one['target']:g} times")
        for name, one in result["times"].items()
    ]


def cleaning_rows(result: Result) -> list[Row]:
    target = f"at least {result['target']:.2f} each"
    rows = [
        Row(
            f"`{one['rule']}` in {one['kind']}, {one['planted']} planted",
            f"recall {one['recall']:.3f}, precision {one['precision']:.3f}",
            target,
        )
        for one in result["rules"]
    ]
    for one in result["label_flips"]:
        said = f"recall {one['recall']:.3f}, precision {one['precision']:.3f} at margin {one['margin']:g}"
        rows.append(Row(f"`label_flips`, {one['labels']}, {one['planted']} planted", said))
    for one in result["accuracy"]:
        what = f"held-out accuracy of a word read-out, {one['labels']}: {one['rows']}"
        rows.append(Row(what, f"{one['mean']:.1%}; {one['gain']:+.2f} points"))
    return rows + [Row(f"all rules on {one['kind']}", f"{one['rows_per_s']:,} rows/s") for one in result["all_rules"]]


SECTIONS = (
    Section(
        "Steering: three constitutions, each also with one principle inverted", "steering", steering_rows,
        "Simulated truth from 0 to 100, five training seeds. What no principle names moves too: helpfulness falls "
        "under brevity. [steering.md](steering.md) has every attribute, and best-of-4 beside the training.",
    ),
    Section(
        "People's labels on the front desk's length-biased judge", "calibration", calibration_rows,
        "The people are simulated by the front desk's truth; means over 50 draws of the labels.",
    ),
    Section(
        "What cleaning finds of planted faults", "cleaning", cleaning_rows,
        "`python benchmarks/cleaning.py`, one core; three seeds of 5,000 rows of the front desk with planted faults "
        "and decoys. Flips and accuracy: three seeds of 1,000 pairs labelled by the simulated truth of courtesy and "
        "calm, sharply or as the simulated annotator draws, with 5 % flips, 10 % duplicates and 5 % mojibake; accuracy "
        "by that truth on 1,000 clean pairs. [cleaning.md](cleaning.md) says what each rule finds.",
    ),
    Section(
        "What people would say, by a judge and few labels: 95 % intervals", "people_coverage", coverage_rows,
        "Judges and people are drawn: 2,000 lists of 2,000 items a cell. A cell misses when the whole 99.9 % "
        "Monte-Carlo interval of its coverage lies outside. Where the rarer answer has under 10 labels, or under 10 "
        "prompts have labels, people's labels alone give the figure.",
    ),
    Section(
        "How much nearer to people's probabilities 100 labels bring a judge", "people_calibration",
        people_calibration_rows,
        "Judge and people are simulated, means over 200 draws of the labels. Error: ten bins of 60,000 other pairs, "
        "against the true probabilities.",
    ),
    Section(
        "What people say on all of PandaLM, by 100 of its labels and a recorded judge", "people_recorded",
        recorded_rows,
        "Real people and judges, 1,000 resamples a row. Units are what the interval takes as independent. With labels "
        "resampled alone the truth is the mean of this one list, of which a tenth is labelled; the interval is that of "
        "what the list was drawn from, and wider than needed.",
    ),
    Section(
        "What 100 labels make of each judge", "choosing_labels", labels_rows,
        "On pairs of which people name the winner. The intervals are those of the first draw of the labels; widths and "
        "log losses are means over the draws. [choosing-a-judge.md](choosing-a-judge.md) has the judges.",
    ),
    Section(
        "Certificates that may be looked at after every label", "people_anytime", anytime_rows,
        "2,000 simulated runs a row; an adversary stops at the first certificate, and each is false. One-sided at 5 %.",
    ),
    Section(
        "A reward model from 4,000 labels of a biased judge and 300 of people", "people_reward_model", people_rows,
        "Responses, judge and people are simulated in a linear world of 24 features; accuracy by its truth, means over "
        "the seeds. The judge leans along three features, one of them length, or along all. "
        "[reward-model.md](reward-model.md) says how weights and corrections are chosen.",
    ),
    Section(
        "The example with people's labels, down to the reward model", "people_example", example_rows,
        "People are simulated by the front desk's truth. Accuracy on pairs of responses to held-out prompts whose "
        "truths differ; means over the seeds with 95 % intervals over them.",
    ),
    Section(
        "What 200 labels do to a policy that no principle asks for", "people_policy", policy_rows,
        "Simulated truth from 0 to 100, the constitution confident-and-calm, people simulated. [people.md](people.md) "
        "says where a report has these sentences.",
    ),
    Section(
        "Whether `constitution check` passes a principle that the judge misreads", "probes", probe_rows,
        "A tag says what a principle wants. Wrongly passed: read as another principle or backwards.",
    ),
    Section(
        "Small judges on the examples of the shipped constitutions", "constitutions", constitution_rows,
        "Right: the good reply of an example wins. Eight to ten examples are few: 8 of 8 may be 68 %, and 5 "
        "of 8 a coin. [constitutions.md](constitutions.md) says what the principles are.",
    ),
    Section(
        "Held-out accuracy of a reward model by the prompts it learnt from", "reward_model_curve", curve_rows,
        "Each training starts from the base. [reward-model.md](reward-model.md) says what is trained.",
    ),
    Section(
        "The front desk's judge, asked in different modes", "judging_modes", mode_rows,
        "[judging-modes.md](judging-modes.md) explains the modes.",
    ),
    Section(
        "Small real models as judges, asked in four ways", "choosing_a_judge", choosing_rows,
        "One thread, float32. [choosing-a-judge.md](choosing-a-judge.md) has every figure, and what to do with a small "
        "model.",
    ),
    Section(
        "Judging through a server", "judging", served_rows,
        "The server is a stub of 64 slots of 50 ms each. The peers judge the same pairs by their own tasks. "
        "[judging.md](judging.md) says how.",
    ),
    Section(
        "The local judge against plain `generate` at its best batch size", "judging_local", local_rows,
        "The front desk's judge on one thread.",
    ),
    Section("`rlaif generate-prefs` on the front desk", "generate_prefs", generate_rows),
    Section("The ledger", "ledger", ledger_rows, "Other work ran beside it."),
    Section("A ledger of a million judgements", "ledger_million", million_rows),
    Section(
        "Checking a ledger", "audit_verify", verify_rows,
        "Questions, answers and uses; process time of one thread. Other work ran beside it.",
    ),
    Section(
        "The audit app's pages, beside a process that appends all the time", "audit", audit_rows,
        "One request after another. CPU is that of the server for one page; what was waited for includes the other "
        "work on the machine, which had several times as much to do as it has cores. The ledger holds no prompts and "
        "replies.",
    ),
    Section(
        "A record that its owner rewrites as a whole", "audit_proof", proof_rows,
        "Ledger, manifests, card and report are made to fit each time; two people signed. "
        "[proving-the-record.md](proving-the-record.md) says what follows.",
    ),
    Section(
        "Agreement with people from 60 drawn pairs of 400", "spot_check", spot_check_rows,
        "People and judge are simulated, 2,000 draws a row. A closed set misses when the whole 99.9 % Monte-Carlo "
        "interval of its coverage lies outside. [people.md](people.md) says how pairs are drawn.",
    ),
    Section(
        "Edits decided by people, who label what an edit flips", "people_edits", people_edit_rows,
        "People are simulated, 2,000 runs a row; the edit flips 100 of 600 decisions unless the row says otherwise. "
        "Labels are medians. [people.md](people.md) says how an edit is tested.",
    ),
    Section(
        "Edits on real judges and real people", "people_edits_recorded", recorded_edit_rows,
        "A tenth of recorded verdicts is turned; the answers are people's. An adversary stops at the first "
        "certificate. Labels are medians.",
    ),
    Section(
        "Edits that sharpen, blur, negate and swap principles on the front desk", "people_edits_desk", desk_edit_rows,
        "The judge's answers under both files; people are simulated by the desk's truth, 2,000 runs a row. A "
        "certificate is false where that run's answers on all flips say otherwise. Labels are medians.",
    ),
    Section("Killed 200 times by SIGKILL while a server answers, and resumed", "kills", kill_rows),
    Section(
        "Torture: what a run lives through, and what it refuses in a sentence", "torture", torture_rows,
        "A fault is a traceback, a hang, a wrong exit code, other bytes than those of the unbroken run, a key that is "
        "printed or stored, or a ledger that does not verify.",
    ),
    Section(
        "Workers on Ray", "ray_local", ray_rows,
        "All workers on one machine, on the same cores. Several machines, and workers with GPUs, were never tried. "
        "[scale.md](scale.md) plans with these figures.",
    ),
    Section(
        "PPO beside TRL 1.12, the last TRL with PPO", "ppo", ppo_rows,
        "The same tiny Llama and prompts, as many optimizer steps. Ragged: responses of different lengths. TRL "
        "takes more optimizer steps at batch 128.",
    ),
    Section(
        "A real model, steered by a sentence", "real_model", real_model_rows,
        "SmolLM2-135M-Instruct is its own judge, by contrast; the instrument is another one. "
        "[real-model.md](real-model.md) has every measure, and replies side by side.",
    ),
    Section(
        "A PPO step of SmolLM2-135M-Instruct", "ppo_real", real_step_rows,
        "8 prompts x 4 responses of 40 tokens, rewards by contrast, one thread, seconds of process time; other work "
        "ran beside it. The products are timed in the same run, without attention, adapters, softmax and optimizer. "
        "Before: the program before a large vocabulary was computed part by part, and adapters with fewer passes over "
        "memory; rewards cost nothing there.",
    ),
    Section(
        "Intuitive fine-tuning beside supervised fine-tuning", "ift", ift_rows,
        "Losses are per token, against the right answers of other prompts; self-fed: after the model's own greedy "
        "answer. Frozen Lake: squared distance to the optimal policy. [methods.md](methods.md) says what the arms are.",
    ),
    Section("Whether the demo trains long enough", "ppo_learning", demo_rows),
    Section(
        "Over-optimisation, really trained", "over_optimisation", over_optimisation_rows,
        "200 pairs, a quarter of them inverted; one seed. [over-optimisation.md](over-optimisation.md) has the curves.",
    ),
    Section(
        "Three rounds on the front desk", "rounds", round_rows,
        "Means over seeds with 95 % intervals. [rounds.md](rounds.md) says what follows.",
    ),
)  # fmt: skip

NEVER_ON_A_GPU = """
## On a GPU

Never. `python benchmarks/gpu_check.py` tries judging, sampling and PPO on a GPU in one run and writes
`benchmarks/results/gpu_check.json`. While that file is missing, nothing here says how fast a GPU is.
"""
ON_A_GPU = """
## On a GPU

[gpu_check.json](../benchmarks/results/gpu_check.json) holds what `python benchmarks/gpu_check.py` found; `rlaif doctor`
says which parts it tried.
"""


def render_measured() -> str:
    """The page."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    if unnamed := found.keys() - {section.result for section in SECTIONS} - {"gpu_check"}:
        raise SystemExit(f"docs/measured.py has no section for {', '.join(sorted(unnamed))}")
    tables = [_render(section, found[section.result]) for section in SECTIONS if section.result in found]
    return "".join([HEAD, *tables, ON_A_GPU if "gpu_check" in found else NEVER_ON_A_GPU])


def _render(section: Section, result: Result) -> str:
    command, machine = _find_command(section.result, result), _describe_machine(result)
    lines = [
        f"\n## {section.title}\n",
        f"`{command}` on {machine}.{' ' if section.more else ''}{section.more}\n",
        "| what | measured | target |",
        "| --- | --- | --- |",
        *(f"| {row.what} | {row.measured} | {row.target} |" for row in section.rows(result)),
    ]
    return "\n".join(lines) + "\n"


def _find_command(name: str, result: Result) -> str:
    """The command in the file; the script of that name where an older file has none."""
    noted = result.get("command") or result.get("endpoint", {}).get("command")
    return str(noted or f"python benchmarks/{name}.py")


def _describe_machine(result: Result) -> str:
    about = result if "cores" in result else result.get("endpoint", result)
    versions = {**result, **about, **result.get("versions", {})}
    software = [f"{name} {versions[name]}" for name in ("python", "torch", "transformers") if name in versions]
    parts = [f"{about.get('cores', 2)} CPU cores without a GPU", *software]
    if "load_before" in about:
        parts.append(f"load {about['load_before'][0]:g} from other work before it began")
    return ", ".join(parts)
