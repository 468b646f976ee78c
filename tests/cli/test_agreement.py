"""`rlaif agreement`: what a person reads, what a machine reads, and the published figures of two data sets.

The data sets are others' and stand beside the repository; without them their tests are skipped.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rlaif.cli import app
from rlaif.errors import ConfigError, DataError, InputError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "agreement"
DATA = ROOT.parent / "shared" / "data"

needs_pandalm = pytest.mark.skipif(
    not (DATA / "pandalm").is_dir(), reason="PandaLM's recorded verdicts are not in ../shared/data/pandalm"
)
needs_llmfao = pytest.mark.skipif(
    not (DATA / "llmfao").is_dir(), reason="LLMFAO's votes are not in ../shared/data/llmfao"
)


def agreement(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agreement", *arguments], env={"COLUMNS": "100"})


def documented(*words: str) -> list[str]:
    """The arguments of the one command in the example's README that has these words and no other option."""
    lines = re.findall(r"^rlaif agreement (.*)$", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    found = [shlex.split(line) for line in lines if all(word in line for word in words)]
    shortest = min(found, key=len)
    assert [len(line) for line in found].count(len(shortest)) == 1
    return shortest


@pytest.fixture
def at_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the example's files and the downloaded data, as its README assumes."""
    for folder in (EXAMPLE, DATA / "pandalm", DATA / "llmfao"):
        for path in folder.glob("*"):
            if path.name != "README.md":
                (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)


def figures(*words: str) -> dict[str, Any]:
    """What the documented command with these words says to a machine."""
    result = agreement(*documented(*words), "--json")
    assert result.exit_code == 0, result.exception
    return dict(json.loads(result.stdout))


def rounded(*estimates: dict[str, float], digits: int = 4) -> list[float]:
    return [round(estimate["mean"], digits) for estimate in estimates]


@pytest.mark.usefixtures("at_the_example")
def test_the_example_prints_failed_judgements_base_rates_intervals_and_n() -> None:
    result = agreement(*documented("people.csv"))
    assert result.exit_code == 0, result.exception
    assert "People: 3 on 8 items of 4 prompts\nchoices: in 22, kept 22, dropped 0; first 50.0%" in result.stdout
    assert 'failed judgements, no numbers, left out: "As an AI, I cannot choose." 1' in result.stdout
    assert "items with people's majority: in 8, kept 6, dropped 2 (failed 1, no_majority 1)" in result.stdout
    assert re.search(r"ana \+ ben: kappa +0\.7667 +0\.\d+ to 1\.000 +7 items, 4 prompts", result.stdout)
    assert re.search(r"accuracy, against the majority +0\.8333 .* 6 items, 3 prompts", result.stdout)
    assert "failed-as" not in result.stdout
    assert "split-votes" not in result.stdout


@pytest.mark.usefixtures("at_the_example")
def test_a_named_convention_is_said_where_it_is_used() -> None:
    result = agreement(*documented("people.csv"), "--failed-as", "tie", "--split-votes", "tie")
    assert 'failed judgements, counted as a tie by --failed-as: "As an AI, I cannot choose." 1' in result.stdout
    assert "items without a majority are taken by --split-votes tie" in result.stdout
    assert "items with people's majority: in 8, kept 8, dropped 0" in result.stdout


@pytest.mark.usefixtures("at_the_example")
def test_people_alone_need_no_verdicts_and_the_same_seed_gives_the_same_bytes() -> None:
    arguments = ("people.csv", "--columns", "columns.yaml", "--json")
    first, again = agreement(*arguments), agreement(*arguments)
    assert first.stdout == again.stdout
    read = json.loads(first.stdout)
    assert (read["judge"], read["policies"], read["seed"]) == (None, None, 0)
    assert agreement(*arguments, "--seed", "1").stdout != first.stdout


@pytest.mark.usefixtures("at_the_example")
@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("people.csv", "--columns", "people.csv"), ConfigError, "column map"),
        (("none.csv", "--columns", "columns.yaml"), DataError, "no such file"),
        (("people.csv", "--columns", "pandalm-7b.yaml"), DataError, 'no column "idx"; the columns are: choice'),
        (("people.csv", "--columns", "columns.yaml", "--failed-as", "tie"), InputError, "is about verdicts"),
        (
            ("people.csv", "--columns", "columns.yaml", "--verdicts", "people.csv"),
            DataError,
            'no column "winner"; the columns are: choice, pair, person, question (people.csv:2)',
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(
    arguments: tuple[str, ...], error: type[InputError], sentence: str
) -> None:
    result = agreement(*arguments)
    assert isinstance(result.exception, error)
    assert sentence in result.exception.sentence
    assert result.stdout == ""


@pytest.mark.usefixtures("at_the_example")
def test_choices_without_inclusion_probabilities_are_said_to_describe_these_items_alone() -> None:
    assert "every figure describes these items alone" in re.sub(
        r"\s+", " ", agreement(*documented("people.csv")).stdout
    )


@pytest.mark.usefixtures("at_the_example")
def test_people_combined_by_their_errors_and_the_disagreements_are_printed() -> None:
    result = agreement(*documented("people.csv"), "--combine", "dawid-skene")
    assert result.exit_code == 0, result.exception
    assert re.search(r"^ana +73\.0% +first 76\.0%", result.stdout, re.MULTILINE)
    assert "--combine dawid-skene" in result.stdout
    assert "judge and people disagree on 1 of 7 items" in result.stdout
    assert "  3: people first, judge second (ana first, ben second, chi first)\n" in result.stdout


def test_principles_lengths_and_strata_are_read_from_the_file(tmp_path: Path) -> None:
    rows = ["id,who,c,pi,part,rule,a,b,v"]
    rows += [f"{n},x,{'AB'[n % 2]},{0.1 if n < 6 else 1.0},{n // 6},r{n % 3},w,w w w,A" for n in range(12)]
    (tmp_path / "p.csv").write_text("\n".join(rows))
    values = "{first: [A], second: [B]}"
    columns = (
        "inclusion_probability: pi\nstratum: part\nprinciple: rule\nresponses: [a, b]\nverdict: v\n"
        f"key: id\nannotator: who\nchoice: c\nchoice_values: {values}\nverdict_values: {values}\n"
    )
    (tmp_path / "m.yaml").write_text(columns)
    file = str(tmp_path / "p.csv")
    result = agreement(file, "--columns", str(tmp_path / "m.yaml"), "--verdicts", file)
    assert result.exit_code == 0, result.exception
    assert "they tell as much as 7 of equal weight" in result.stdout  # 66^2 / 606
    assert re.search(r"under r1 +0\.\d+ .* 4 items", result.stdout)
    assert re.search(r"one reply over half longer +0\.5000", result.stdout)
    (tmp_path / "m.yaml").write_text(columns.removeprefix("inclusion_probability: pi\n"))
    refused = agreement(file, "--columns", str(tmp_path / "m.yaml"))
    assert isinstance(refused.exception, ConfigError)
    assert "stratum wants inclusion_probability" in refused.exception.sentence


def test_text_of_a_data_set_reaches_the_terminal_without_markup_or_control_characters(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,a,b\n1,x,x\n2,y,x\n")
    verdicts = [{"id": 1, "v": "x"}, {"id": 2, "v": "[red]\x1b[31m no[/red]"}]
    (tmp_path / "v.json").write_text(json.dumps(verdicts))
    values = "{first: [x], second: [y]}"
    (tmp_path / "m.yaml").write_text(
        f"key: id\nannotators: [a, b]\nchoice_values: {values}\nverdict: v\nverdict_values: {values}\n"
    )
    result = agreement(
        str(tmp_path / "p.csv"), "--columns", str(tmp_path / "m.yaml"), "--verdicts", str(tmp_path / "v.json")
    )
    assert result.exit_code == 0, result.exception
    assert '"[red]<U+001B>[31m no[/red]" 1' in result.stdout
    assert "2 items" in result.stdout


@needs_pandalm
@pytest.mark.usefixtures("at_the_example")
def test_pandalms_published_agreement_of_people_and_its_own_judges_quality_are_reproduced() -> None:
    read = figures("pandalm-7b.yaml")
    assert [rounded(pair["agreement"]["kappa"], digits=3)[0] for pair in read["people"]["pairs"]] == [
        0.852, 0.879, 0.862,
    ]  # fmt: skip
    judge = read["judge"]
    assert (judge["majority"]["n"], judge["failed"]) == (999, {})
    assert rounded(judge["majority"]["share"], judge["precision"], judge["recall"], judge["f1"]) == [
        0.6677, 0.5738, 0.5750, 0.5743,
    ]  # fmt: skip


@needs_pandalm
@pytest.mark.usefixtures("at_the_example")
def test_gpt_35s_headline_leaves_its_unreadable_replies_out() -> None:
    judge = figures("pandalm-gpt-3.5-turbo.yaml")["judge"]
    assert rounded(judge["majority"]["share"]) == [0.7156]
    assert (judge["majority"]["n"], judge["failed"], judge["failed_as"]) == (974, {"garbage": 25}, None)
    assert judge["tally"] == {"num_in": 999, "dropped": {"failed": 25}}


@needs_pandalm
@pytest.mark.usefixtures("at_the_example")
def test_gpt_35s_published_figures_need_the_named_convention() -> None:
    judge = figures("pandalm-gpt-3.5-turbo.yaml", "--failed-as tie")["judge"]
    assert (judge["majority"]["n"], judge["failed"], judge["failed_as"]) == (999, {"garbage": 25}, "tie")
    assert rounded(judge["majority"]["share"], judge["precision"], judge["recall"], judge["f1"]) == [
        0.7107, 0.5879, 0.5736, 0.5755,
    ]  # fmt: skip


@needs_llmfao
@pytest.mark.usefixtures("at_the_example")
def test_llmfaos_alpha_and_the_published_rank_correlation_are_reproduced() -> None:
    read = figures("llmfao.yaml", "gpt4-crowd")
    people, judge, policies = read["people"], read["judge"], read["policies"]
    assert (people["num_annotators"], people["num_items"], people["num_prompts"]) == (124, 2139, 13)
    assert rounded(people["alpha"]) == [0.2906]
    assert rounded(policies["rank_correlation"], digits=6) == [0.730918]
    assert policies["rank_correlation"]["n"] == len(policies["people"]["scores"]) == 59
    assert (policies["people"]["num_votes"], policies["judge"]["num_votes"]) == (8931, 2139)
    assert judge["items"] == {"num_in": 2139, "dropped": {"no_majority": 308}}
    assert rounded(judge["majority"]["share"], judge["majority"]["kappa"], judge["neither_ties"], digits=3) == [
        0.446, 0.218, 0.746,
    ]  # fmt: skip


@needs_llmfao
@pytest.mark.usefixtures("at_the_example")
def test_llmfaos_rank_correlation_with_gpt_35_is_as_measured() -> None:
    read = figures("llmfao.yaml", "gpt3-crowd")
    assert rounded(read["policies"]["rank_correlation"], digits=6) == [0.715703]
    # the order was drawn at random: a judge without a position bias would take both alike
    assert read["judge"]["base_rates"]["first"] == pytest.approx(1352 / 2139)
    assert read["judge"]["base_rates"]["second"] == pytest.approx(593 / 2139)


@needs_llmfao
@pytest.mark.usefixtures("at_the_example")
def test_llmfaos_split_votes_move_gpt_4s_figures() -> None:
    judge = figures("llmfao.yaml", "--split-votes earliest")["judge"]
    assert (judge["majority"]["n"], judge["num_neither_ties"], judge["split_votes"]) == (2139, 1245, "earliest")
    assert rounded(judge["majority"]["share"], judge["majority"]["kappa"], judge["neither_ties"], digits=3) == [
        0.435, 0.196, 0.711,
    ]  # fmt: skip


def drawn(tmp_path: Path, *rows: str) -> list[str]:
    (tmp_path / "p.csv").write_text("id,a,b,pi\n" + "".join(f"{row}\n" for row in rows))
    (tmp_path / "v.csv").write_text("id,v\n1,x\n2,y\n3,x\n")
    (tmp_path / "m.yaml").write_text(
        "key: id\nannotators: [a, b]\nchoice_values: {first: [x], second: [y], tie: [t]}\n"
        "inclusion_probability: pi\nverdict: v\nverdict_values: {first: [x], second: [y]}\n"
    )
    return [str(tmp_path / "p.csv"), "--columns", str(tmp_path / "m.yaml"), "--verdicts", str(tmp_path / "v.csv")]


def test_items_drawn_unequally_are_weighted_and_bounds_are_said(tmp_path: Path) -> None:
    result = agreement(*drawn(tmp_path, "1,x,x,0.1", "2,y,x,1", "3,t,t,1"))
    assert result.exit_code == 0, result.exception
    words = " ".join(result.stdout.split())
    assert "these tell as much as 1 drawn with one probability" in words
    assert "the judge never says tie, and the majority does" in words
    assert "could be 0.9091 at most" in words  # ten of the eleven weighted items with a majority
    assert "people differ on an item" in words
    assert re.search(r"accuracy, against the majority +0\.9091", result.stdout)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (("1,x,x,0.1", "2,y,x,"), '"pi" is empty'),
        (("1,x,x,0.1", "2,y,x,1.5"), '"pi" holds "1.5", no probability of being drawn'),
        (("1,x,x,0.1", "2,y,x,0"), '"pi" holds "0", no probability'),
    ],
)
def test_an_item_whose_probability_is_not_known_is_refused(
    tmp_path: Path, rows: tuple[str, ...], sentence: str
) -> None:
    result = agreement(*drawn(tmp_path, *rows))
    assert isinstance(result.exception, DataError)
    assert sentence in result.exception.sentence
    assert "p.csv:3" in result.exception.sentence


def test_a_narrow_terminal_takes_no_figure_away(tmp_path: Path) -> None:
    arguments = drawn(tmp_path, "1,x,x,0.5", "2,x,y,0.5", "3,y,y,0.25")
    wide, narrow = (
        CliRunner().invoke(app, ["agreement", *arguments], env={"COLUMNS": columns}).stdout for columns in ("200", "30")
    )
    assert "Krippendorff's alpha" in wide
    assert wide == narrow
