"""Agreement between judges, by hand on four pairs; the words and rows of the report; judge-check on a panel's run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif import pipeline
from rlaif.calibration.agreement import measure_correlation
from rlaif.cli import app
from rlaif.config.load import load_config
from rlaif.judge_health.agreement import by_judge_and_key, compare_panel
from rlaif.judge_health.check import check_judge_of_run
from rlaif.judge_health.health import compute_judge_health
from rlaif.judge_health.panel import CheckedJudge
from rlaif.loop.open_run import open_work
from rlaif.records import Comparison, Constitution, Principle, PrincipleKey
from rlaif.report.judges import judges_view

KIND, BRIEF = Principle(id="kind", text="Be kind."), Principle(id="brief", text="Be brief.", weight=3.0)
CONSTITUTION = Constitution(name="c", principles=(KIND, BRIEF), source="")
NAMES = {"a": "judge a", "b": "judge b", "c": "judge c"}


def compare(judge: str, principle: Principle, logits: list[float | None]) -> list[Comparison]:
    """A pair of each prompt; None: it has a verdict for the first and no log-probabilities."""
    return [
        Comparison(
            prompt_id=f"p{n}", sample_ids=(f"x{n}", f"y{n}"), judge_id=judge, judgement_ids=("j", "k"),
            principle=PrincipleKey(id=principle.id, text_digest=principle.digest),
            p_first=1.0 if logit is None else 1 / (1 + math.exp(-logit)), logit=logit, flipped=False, debiased=True,
        )
        for n, logit in enumerate(logits)
    ]  # fmt: skip


A = [*compare("a", KIND, [1, 1, -1, -1]), *compare("a", BRIEF, [2, 2, 2, -2])]
B = [*compare("b", KIND, [1, -1, -1, -1]), *compare("b", BRIEF, [1, 1, 1, -1])]


def test_two_judges_on_four_pairs_as_counted_by_hand() -> None:
    found = compare_panel(by_judge_and_key([*A, *B]), names=NAMES, constitution=CONSTITUTION)
    assert found is not None
    [pair] = found.pairs
    assert pair.judges == ("judge a", "judge b")
    assert (pair.agreement.n, pair.agreement.share.mean) == (8, 7 / 8)
    # Under "kind" they agree on 3 of 4; by chance on .5 * .25 + .5 * .75 = .5: kappa (.75 - .5) / .5.
    kind = pair.by_principle["kind"]
    assert kind.share.mean == 0.75
    assert kind.kappa is not None
    assert kind.kappa.mean == pytest.approx(0.5)
    brief = pair.by_principle["brief"].kappa
    assert brief is not None
    assert brief.mean == 1.0
    # Brief weighs three times as much: a: +7, +7, +5, -7 quarters; b: +4, +2, +2, -4. The winners are the same.
    assert pair.winners is not None
    assert pair.winners.mean == 1.0
    # sum xy = 1 - 1 + 1 + 1 + 2 * 4 = 10; sum xx = 4 + 16 = 20; sum yy = 8
    assert pair.correlation is not None
    assert pair.correlation.mean == pytest.approx(10 / math.sqrt(20 * 8))
    assert pair.correlation.n == 4


def test_three_judges_have_one_alpha_and_a_share_of_unanimous_pairs() -> None:
    opposed = [*compare("c", KIND, [-1, -1, 1, 1]), *compare("c", BRIEF, [-2, -2, -2, 2])]
    found = compare_panel(by_judge_and_key([*A, *B, *opposed]), names=NAMES, constitution=CONSTITUTION)
    assert found is not None
    assert found.judges == ("judge a", "judge b", "judge c")
    assert [pair.judges for pair in found.pairs] == [
        ("judge a", "judge b"), ("judge a", "judge c"), ("judge b", "judge c"),
    ]  # fmt: skip
    assert found.unanimous is not None
    assert found.unanimous.mean == 0.0
    assert found.alpha is not None
    assert found.alpha.mean < 0, "less agreement than by chance"
    # Under brief each item is 2 to 1. Values: 7 first, 5 second of 12. Seen: 4 items of 2 * (2*1) / 2 = 2, so 8.
    # Expected: 2 * 7 * 5 / 11. alpha = 1 - 8 / (70 / 11).
    alpha = found.alpha_by_principle["brief"]
    assert alpha is not None
    assert alpha.mean == pytest.approx(1 - 8 * 11 / 70)


def test_a_judge_without_log_probabilities_has_winners_and_no_correlation() -> None:
    silent = [*compare("c", KIND, [None] * 4), *compare("c", BRIEF, [None] * 4)]
    found = compare_panel(by_judge_and_key([*A, *silent]), names=NAMES, constitution=CONSTITUTION)
    assert found is not None
    [pair] = found.pairs
    assert pair.correlation is None
    assert pair.winners is not None
    assert pair.winners.mean == 0.75


def test_a_judge_with_log_probabilities_can_agree_with_the_exact_ties_of_one_without() -> None:
    exact = [c.changed(p_first=p, logit=None) for c, p in zip(A[:4], [0.5, 0.5, 1.0, 0.0], strict=True)]
    soft = compare("b", KIND, [0.01, 0.5, 2.0, -0.01])
    only = Constitution(name="c", principles=(KIND,), source="")
    found = compare_panel(by_judge_and_key([*exact, *soft]), names=NAMES, constitution=only)
    assert found is not None
    # .5025 is a tie beside a tie, .622 is none; and then .4975 is a tie where the other one names a winner
    assert found.pairs[0].agreement.share.mean == 0.5
    assert found.pairs[0].winners is not None
    assert found.pairs[0].winners.mean == 0.5
    decided = [c.changed(p_first=p, logit=None) for c, p in zip(A[:4], [1.0, 1.0, 1.0, 0.0], strict=True)]
    found = compare_panel(by_judge_and_key([*decided, *soft]), names=NAMES, constitution=only)
    assert found is not None
    assert found.pairs[0].agreement.share.mean == 1.0, "where nobody ties a label just off one half is none"


def test_judges_of_different_pairs_are_not_compared() -> None:
    other = [c.changed(sample_ids=("v", "w")) for c in B[:1]]
    assert compare_panel(by_judge_and_key([*A, *other]), names=NAMES, constitution=CONSTITUTION) is None
    assert compare_panel(by_judge_and_key(A), names=NAMES, constitution=CONSTITUTION) is None


def test_the_correlation_does_not_depend_on_which_response_is_called_the_first() -> None:
    a, b, clusters = [1.0, -2.0, 3.0, 0.5], [0.5, -1.0, 1.0, -2.0], ["p", "p", "q", "r"]
    as_listed = measure_correlation(a, b, clusters=clusters)
    turned = measure_correlation([-a[0], *a[1:]], [-b[0], *b[1:]], clusters=clusters)
    assert as_listed == turned
    assert as_listed is not None
    assert as_listed.low <= as_listed.mean <= as_listed.high
    assert measure_correlation([0.0, 0.0], [1.0, 2.0], clusters=["p", "q"]) is None
    assert measure_correlation([], [], clusters=[]) is None


def test_the_report_names_every_judge_and_draws_their_agreement() -> None:
    panel = compare_panel(by_judge_and_key([*A, *B]), names=NAMES, constitution=CONSTITUTION)
    judges = [
        CheckedJudge(name=NAMES[key], judge_id=key, health=compute_judge_health(own, judgements=[]))
        for key, own in (("a", A), ("b", B))
    ]
    shown = judges_view(judges, panel)
    assert shown is not None
    assert [row["name"] for row in shown["rows"]] == ["judge a", "judge b"]
    assert [row["name"] for row in shown["agreement"]["table"]] == ["judge a and judge b, kappa"]
    assert shown["agreement"]["principles"] == ["kind", "brief"]
    [drawn] = shown["agreement"]["rows"]
    assert "<svg" in drawn["svg"]
    assert judges_view(judges[:1], None) is None
    alone = judges_view(judges, None)
    assert alone is not None
    assert alone["agreement"] is None


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    panel = [
        {"model": {"engine": "scripted", "path": f"panel_judges:{name}"}} for name in ("prefer_short", "refuse_all")
    ]
    small = ["prompts.num_prompts=8", "sampling.num_samples=2", "sampling.num_pairs=1", "preferences.min_judges=2"]
    with open_work(
        load_config(overrides=[*small, f"judge.panel={json.dumps(panel)}"]), run_name="r", runs_dir=folder, resume=False
    ) as work:
        pipeline.generate_preferences(work)
    return folder


def test_judge_check_shows_each_judge_one_that_failed_everywhere_too(runs_dir: Path) -> None:
    check = check_judge_of_run("r", runs_dir=runs_dir)
    names = [check.judge.split()[0], *(judge.name.split()[0] for judge in check.further)]
    assert names == ["judge", "panel_judges:prefer_short", "panel_judges:refuse_all"]
    short, refuses = check.further
    assert (short.health.num_judgements, short.health.failed_by_cause) == (check.health.num_judgements, {})
    assert (refuses.health.num_judgements, refuses.health.num_comparisons) == (0, 0)
    assert refuses.health.failed_by_cause == {"refused": check.health.num_judgements}
    assert short.health.flipped is not None
    assert short.health.flipped.mean == 0
    assert check.panel is not None
    assert [pair.judges for pair in check.panel.pairs] == [(check.judge, short.name)]
    assert check.judges == check.panel.pairs, "no other run judged these"
    shown = CliRunner().invoke(app, ["judge-check", "--runs-dir", str(runs_dir)], env={"COLUMNS": "140"})
    assert shown.exit_code == 0, shown.output
    for words in (
        "3 judges",
        f"judge {short.name}",
        f"judge {refuses.name}",
        "correlation of logits",
        "kappa under brief",
    ):
        assert words in shown.stdout
    as_json = CliRunner().invoke(app, ["judge-check", "--runs-dir", str(runs_dir), "--json"])
    assert json.loads(as_json.stdout) == check.model_dump(mode="json")


def test_sentinels_ask_each_judge_its_own_questions(runs_dir: Path) -> None:
    check = check_judge_of_run("r", runs_dir=runs_dir, sentinels=True).sentinels
    assert check is not None
    drawn = json.loads((runs_dir / "r" / "sentinels.json").read_text())["question_ids"]
    assert (
        check.num_asked == len(drawn) == 2 * min(40, check_judge_of_run("r", runs_dir=runs_dir).health.num_judgements)
    )
    assert check.drift == ()
