"""`rlaif constitution check, show`: what they print and how they refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from families import build_family
from typer.testing import CliRunner

from rlaif.cli.constitution import EXAMPLE, constitution_app
from rlaif.errors import ConstitutionError, ModelError, TemplateError

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
    return build_family("llama3", tmp_path_factory.mktemp("judge"))


def invoke(*args: str) -> str:
    result = CliRunner().invoke(constitution_app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_check_prints_a_row_per_principle_and_ok(file):
    lines = invoke("check", file).splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["polite", "2", "6", "courteous"],
        ["brief", "1", "5", "-"],
    ]
    assert lines[3].startswith("ok: mine, for the judge frontdesk")


@pytest.mark.parametrize("name", ["courteous_and_brief", "curt_and_brief", "helpful_and_discreet"])
def test_the_shipped_constitutions_pass_the_front_desks_judge(name):
    assert "ok: " in invoke("check", name)


def test_check_refuses_a_word_that_the_judge_never_met(file):
    Path(file).write_text(SOURCE.replace("polite.", "sarcastic."))
    with pytest.raises(ConstitutionError, match='"sarcastic" of principle "polite".*nearest wording'):
        invoke("check", file)


def test_check_reads_another_judge_with_the_general_template(file, judge):
    assert "the template" in invoke("check", file, "--judge", str(judge))


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
    for text in EXAMPLE.values():
        assert f"⟦{text}⟧" in output
    assert "Principle: Prefer the reply that is polite." in output
    assert output.index("--- system ---") < output.index("--- user ---")


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
