"""`rlaif constitution check, show`: what they print and how they refuse."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import typer
from families import build_family
from ranking_template import write_ranking
from typer.testing import CliRunner

from rlaif.cli.constitution import EXAMPLE, QUESTION, constitution_app, print_result
from rlaif.constitution.principles import load_constitution
from rlaif.constitution.probe import MAX_FLIPS, Reading
from rlaif.constitution.render import load_template
from rlaif.errors import ConstitutionError, DataError, InputError, ModelError, TemplateError
from rlaif.judging.probing import Probing

SOURCE = """name: mine
principles:
  - id: polite
    text: Prefer the reply that is polite.
    weight: 2
    tags: [courteous]
  - id: brief
    text: The better reply is brief.
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(SOURCE)
    return str(path)


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Path:
    folder = build_family("llama3", tmp_path_factory.mktemp("judge"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    return folder


def invoke(*args: str) -> str:
    result = CliRunner().invoke(constitution_app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_check_prints_a_row_per_principle_and_ok(file):
    lines = invoke("check", file, "--no-probe").splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["polite", "2", "6", "courteous"],
        ["brief", "1", "5", "-"],
    ]
    assert lines[3] == "not probed, only the words were checked: --no-probe"
    assert lines[4].startswith("ok: mine, for the judge frontdesk")


def test_check_asks_the_front_desks_judge_about_its_own_probes(file):
    output = invoke("check", file)
    polite, brief = (line.split() for line in output.splitlines() if line.split()[0] in ("polite", "brief"))
    assert [polite[-1], brief[-1]] == ["courteous", "brief"]
    assert polite[4:7] == ["0", "of", "48"]
    assert "2 principles x 88 pairs x 2 orders = 352 questions" in output
    right = "polite: the expected reply wins 48 of 48 (93% to 100%); it is the longer one in 26 of 48"
    assert right in output.splitlines()
    assert "ok: mine" in output


EXAMPLES = """    examples:
""" + "".join(
    f"      - {{prompt: When do you open, good: {good}, bad: {bad}}}\n"
    for good, bad in (
        ("We open at nine.", "We open at nine and close at five and you may also ask me about all the other days."),
        ("At ten.", "The museum opens at ten and the garden opens at eleven and the cafe opens at noon."),
    )
)


def test_check_asks_about_a_principles_own_examples_and_says_that_two_are_too_few(file):
    Path(file).write_text(SOURCE + EXAMPLES)
    output = invoke("check", file)
    polite, brief = (line.split() for line in output.splitlines() if line.split()[0] in ("polite", "brief"))
    assert polite[4:7] == ["0", "of", "48"]
    assert brief[5:7] == ["of", "2"]
    [right] = [line for line in output.splitlines() if line.startswith("brief: the good reply wins")]
    assert right.endswith("; it is the longer one in 0 of 2")
    assert "1 principles x 88 pairs and 2 examples of 1 principles x 2 orders = 180 questions" in output
    assert "probed in part: mine" in output
    assert "fewer than 8 examples say little of brief" in output
    assert "ok:" not in output


def test_check_refuses_a_principle_that_the_front_desks_judge_reads_backwards(file):
    Path(file).write_text(SOURCE.replace("[courteous]", "[curt]"))
    with pytest.raises(ConstitutionError) as caught:
        invoke("check", file)
    assert caught.value.exit_code == 2
    assert 'reads principle "polite" backwards: the reply that its tag "curt" expects wins 0 of 48' in str(caught.value)
    assert 'as if it wanted "courteous"' in str(caught.value)


def test_check_warns_of_principles_that_contradict_each_other_and_says_how_an_untagged_one_is_read(file):
    source = SOURCE.replace("id: brief", "id: second").replace(
        "The better reply is brief.", "The better reply is curt."
    )
    Path(file).write_text(source)
    output = invoke("check", file)
    assert (
        'warning: principles "polite" and "second" contradict each other: the judge wants opposite replies on 48 of 48'
        in output
    )
    assert 'note: the judge reads principle "second" as "curt"; write `tags: [curt]` if that is meant' in output
    assert "ok: mine" in output


def test_check_refuses_a_word_that_the_judge_never_met(file):
    Path(file).write_text(SOURCE.replace("polite.", "sarcastic."))
    with pytest.raises(ConstitutionError, match='"sarcastic" of principle "polite".*nearest wording'):
        invoke("check", file)


def test_check_reads_another_judge_with_the_general_template_and_says_that_it_brings_no_probes(file, judge):
    output = invoke("check", file, "--judge", str(judge))
    assert "prompts/pair.j2" in output
    assert "the principles have no examples, and this judge brings no probes.jsonl; write `examples:`" in output
    assert "ok:" not in output
    assert "whether the judge understands the principles is not known" in output


def test_words_lists_what_the_front_desks_judge_can_read():
    output = invoke("words")
    assert "knows 3250 wordings of a principle" in output
    assert "  Prefer the reply that is courteous." in output
    assert len(output.splitlines()) < 60
    assert len(invoke("words", "--all").splitlines()) > 3250


def write_probes(path: Path, *, n: int = 12) -> Path:
    rows = [
        {"prompt": f"When, {i}?", "first": f"Hi! At {i}.", "second": f"{i}.", "expected": "first"} for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def own_judge(judge, tmp_path) -> str:
    """A config file that names a random judge, whose verdicts have next to no probability."""
    path = tmp_path / "own.yaml"
    judge_lines = f"judge:\n  model: {{path: {judge}}}\n  template: pair_verdict\n  min_label_mass: 0\n"
    path.write_text(judge_lines)
    return str(path)


def test_the_configured_judge_is_probed_with_the_users_own_pairs_and_a_random_one_is_refused(file, own_judge, tmp_path):
    probes = write_probes(tmp_path / "mine.jsonl")
    with pytest.raises(ConstitutionError, match='the judge does not understand principle "polite": its verdict turns'):
        invoke("check", file, "--config", own_judge, "--probes", str(probes))


def test_a_judge_that_answers_no_probe_is_refused_with_the_cause(file, judge, tmp_path):
    probes = write_probes(tmp_path / "mine.jsonl")
    with pytest.raises(ConstitutionError, match=r"no verdict under principle.*12 of 12 probe pairs \(low_mass 12\)"):
        invoke("check", file, "--judge", str(judge), "--template", "pair_verdict", "--probes", str(probes))


def test_any_judges_folder_may_bring_its_own_probes(file, tmp_path):
    folder = build_family("chatml", tmp_path / "own")
    write_probes(folder / "probes.jsonl", n=9)
    with pytest.raises(ConstitutionError, match="on 9 of 9 probe pairs"):
        invoke("check", file, "--judge", str(folder), "--template", "pair_verdict")


def test_a_malformed_probe_file_is_refused_with_its_line_before_a_judge_is_loaded(file, tmp_path):
    path = write_probes(tmp_path / "mine.jsonl")
    path.write_text(path.read_text().replace('"prompt": "When, 1?"', '"prmpt": "When, 1?"'))
    with pytest.raises(DataError, match=r'no column "prmpt" \(.*mine.jsonl:2\): did you mean "prompt"'):
        invoke("check", file, "--probes", str(path))


def test_probes_are_pairs_and_need_a_template_that_does_not_rank(file, tmp_path):
    path = write_probes(tmp_path / "mine.jsonl")
    with pytest.raises(InputError, match="ranks several replies, and probes are pairs"):
        invoke("check", file, "--template", write_ranking(tmp_path / "rank.j2"), "--probes", str(path))
    assert "not probed" in invoke("check", file, "--template", str(tmp_path / "rank.j2"))


def test_probes_and_no_probe_exclude_each_other(file, tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        invoke("check", file, "--no-probe", "--probes", str(write_probes(tmp_path / "mine.jsonl")))


def test_the_default_share_of_flips_is_that_of_the_check():
    [option] = [p for p in typer.main.get_command(constitution_app).commands["check"].params if p.name == "max_flips"]
    assert option.default == MAX_FLIPS


def test_check_refuses_verdicts_that_this_judge_cannot_give_in_one_token(file, judge, tmp_path):
    template = tmp_path / "t.j2"
    source = Path("prompts/pair.j2").read_text().replace('" A"', '" Alpha"')
    template.write_text(source)
    with pytest.raises(ModelError, match='the verdict " Alpha" is not one token'):
        invoke("check", file, "--judge", str(judge), "--template", str(template))


def test_check_refuses_words_by_the_vocabulary_in_the_judges_folder(file, tmp_path):
    folder = build_family("chatml", tmp_path / "closed")
    vocabulary = {"words": ["prefer", "the", "reply"], "wordings": ["Prefer the reply."]}
    (folder / "principle_vocabulary.json").write_text(json.dumps(vocabulary))
    with pytest.raises(ConstitutionError, match='never met the word "that"'):
        invoke("check", file, "--judge", str(folder))


def test_show_prints_the_exact_prompt_with_untrusted_text_between_marks(file):
    output = invoke("show", file, "--template", "pair_verdict")
    for text in (f"user: {QUESTION}", *EXAMPLE.values()):
        assert f"⟦{text}⟧" in output
    assert "Principle: Prefer the reply that is polite." in output
    assert output.index("--- system ---") < output.index("--- user ---")


def test_show_reads_the_configured_template_unless_one_is_named(file, tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text("judge:\n  template: pair_verdict\n")
    assert "template prompts/pair_verdict.j2" in invoke("show", file, "--config", str(config))
    assert "template prompts/pair.j2" in invoke("show", file, "--config", str(config), "--template", "pair")


def test_show_prints_a_template_of_scores_with_one_reply(file):
    output = invoke("show", file, "--template", "frontdesk_score")
    assert f"⟦{EXAMPLE['second']}⟧" in output
    assert f"⟦{EXAMPLE['first']}⟧" not in output
    assert output.rstrip().endswith("scores " + ", ".join(f"' {score}'" for score in range(1, 11)))


def test_show_takes_the_principle_that_is_asked_for(file):
    assert "The better reply is brief." in invoke("show", file, "--principle", "brief")
    with pytest.raises(ConstitutionError, match='no principle "rude": its principles are polite, brief'):
        invoke("show", file, "--principle", "rude")


def test_show_prints_markup_in_a_principle_as_it_stands(file):
    Path(file).write_text(SOURCE.replace("Prefer the reply that is polite.", "'Prefer [red]this[/red] \\e[31m.'"))
    assert "[red]this[/red]" in invoke("show", file)


def test_a_missing_template_is_refused(file):
    with pytest.raises(TemplateError, match="no judge template named"):
        invoke("show", file, "--template", "pears")


def test_a_bad_file_ends_with_code_2_one_sentence_and_no_torch(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(SOURCE.replace("    text: The better reply is brief.\n", ""))
    script = (
        "import sys, atexit; from rlaif.cli import main\natexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "constitution", "show", str(path)],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": "500"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f'error: principle "brief" has no text ({path}:7): write one sentence that says which reply is better'
    ]
    assert done.stdout == "False\n"


def test_where_a_principle_has_no_probe_pair_it_is_probed_in_part_and_not_ok(file, capsys):
    constitution = load_constitution(file)
    polite, brief = (
        Reading(principle, (), places, (), Counter(), 0, 0, 0, 0, None)
        for principle, places in zip(constitution.principles, ((0, 1), ()), strict=True)
    )
    template = load_template("pair")
    print_result(Probing(template, [polite, brief], None), whom="mine", is_asked=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "probed in part: mine: no probe pair is about brief"
    assert "--probes FILE" in " ".join(lines)
    assert "ok:" not in " ".join(lines)
    print_result(Probing(template, [polite, polite], None), whom="mine", is_asked=True)
    assert capsys.readouterr().out == "ok: mine\n"
