"""Principle files: what they mean, and what is refused in one sentence with file and line."""

import json
import os
from pathlib import Path

import pytest

from rlaif.constitution.principles import (
    PrincipleVocabulary,
    check_wording,
    find_nearest_wording,
    load_constitution,
    parse_constitution,
)
from rlaif.constitution.shipped import find_shipped, known_names
from rlaif.errors import ConstitutionError

GOOD = """name: test
description: Two rules.
principles:
  - id: polite
    text: Prefer the reply that is polite.
    weight: 2
    tags: [courteous]
  - id: brief
    text: >
      Prefer the reply
      that is brief.
"""


def refusal(source: str) -> str:
    with pytest.raises(ConstitutionError) as caught:
        parse_constitution(source, where="c.yaml")
    assert caught.value.exit_code == 2
    return caught.value.sentence


def test_a_file_becomes_a_constitution_that_keeps_its_source(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    constitution = load_constitution(path)
    assert (constitution.name, constitution.description) == ("test", "Two rules.")
    polite, brief = constitution.principles
    assert (polite.id, polite.weight, polite.tags) == ("polite", 2.0, ("courteous",))
    assert (brief.text, brief.weight, brief.tags) == ("Prefer the reply that is brief.", 1.0, ())
    assert constitution.source == GOOD


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    text: Prefer the reply that is polite.\n", "", ('principle "polite" has no text', "c.yaml:4")),
        ("Prefer the reply that is polite.", '"  "', ('principle "polite" has no text', "c.yaml:5")),
        ("Prefer the reply that is polite.", "12", ("must be text, but YAML reads 12", "c.yaml:5", "quotes")),
        ("Prefer the reply that is polite.", "true", ("YAML reads true", "c.yaml:5")),
        ("Prefer the reply that is polite.", "[a]", ("YAML reads a list", "c.yaml:5")),
        ("id: brief", "id: polite", ('"polite" stands here a second time', "c.yaml:8", "line 4")),
        ("id: brief", "id: Brief!", ('"Brief!" is not a valid principle id', "c.yaml:8")),
        ("id: brief", "id: ../up", ("not a valid principle id", "c.yaml:8")),
        ("- id: brief\n", "- ident: brief\n", ('no key "ident"', "c.yaml:8")),
        ("weight: 2", "wieght: 2", ('no key "wieght"', "c.yaml:6", 'did you mean "weight"?')),
        ("weight: 2", "weight: -1", ("the weight of", "is -1", "c.yaml:6")),
        ("weight: 2", "weight: .nan", ("is nan", "c.yaml:6")),
        ("weight: 2", "weight: .inf", ("is inf", "c.yaml:6")),
        ("weight: 2", "weight: true", ("is true", "c.yaml:6")),
        ("weight: 2", "weight: heavy", ("is heavy", "c.yaml:6")),
        ("weight: 2", "weight: 2\n    weight: 3", ("a second time", "c.yaml:7")),
        ("tags: [courteous]", "tags: courteous", ("are not a list", "c.yaml:7")),
        ("tags: [courteous]", "tags: [1]", ("YAML reads 1", "c.yaml:7")),
        ("name: test", "nam: test", ('no key "nam"', "c.yaml:1", 'did you mean "name"?')),
        ("name: test\n", "", ("a constitution has no name",)),
        ("name: test", "name: &n test", ("the anchor &n", "c.yaml:1")),
        ("name: test", "name: !!str test", ("the tag", "c.yaml:1")),
        ("name: test", "name: [[[" + "[" * 40, ("deeper than 32", "c.yaml:1")),
        ("name: test", "name: test\n<<: *x", ("the merge key", "c.yaml:2")),
        ("name: test", "name: {a: 1", ("not valid YAML",)),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_what_and_where(old, new, words):
    assert old in GOOD
    sentence = refusal(GOOD.replace(old, new, 1))
    assert all(word in sentence for word in words), sentence


def test_an_alias_bomb_is_refused_at_its_first_anchor():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{i}: &b{i} [*a,*a]\n" for i in range(20))
    assert "the anchor &a" in refusal(bomb)


def test_the_word_no_stays_text():
    constitution = parse_constitution(GOOD.replace("name: test", "name: no"), where="c.yaml")
    assert constitution.name == "no"


@pytest.mark.parametrize("source", ["", "# nothing\n"])
def test_an_empty_file_is_refused(source):
    assert "the file is empty" in refusal(source)


@pytest.mark.parametrize("rest", ["", "principles: []\n", "principles:\n", "principles: all\n"])
def test_a_file_without_principles_is_refused(rest):
    assert 'constitution "x" has no principles' in refusal("name: x\n" + rest)


def test_weights_that_are_all_zero_are_refused():
    source = "name: x\nprinciples:\n  - {id: a, text: Be kind., weight: 0}\n"
    assert "all weights are zero" in refusal(source)


def test_a_file_over_the_size_limit_is_refused_unread(tmp_path: Path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (1 << 20) + b"\nname: x\n")
    with pytest.raises(ConstitutionError, match="larger than 1024 KiB"):
        load_constitution(path)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: x\ndescription: caf\xe9\n")
    with pytest.raises(ConstitutionError, match=r"not UTF-8 \(.*latin.yaml:2\)"):
        load_constitution(path)


@pytest.mark.parametrize("path", ["nowhere/c.yaml", "c.yaml"])
def test_a_missing_path_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConstitutionError, match="does not exist"):
        load_constitution(path)


def test_a_folder_is_not_a_principle_file(tmp_path: Path):
    with pytest.raises(ConstitutionError, match="is a folder"):
        load_constitution(tmp_path)


def test_a_name_means_the_users_own_file_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("constitutions")
    shipped = find_shipped("constitutions", "courteous_and_brief", ".yaml")
    assert shipped.is_absolute()
    Path("constitutions/courteous_and_brief.yaml").write_text(GOOD)
    assert load_constitution("courteous_and_brief").name == "test"


def test_the_front_desks_constitutions_are_found_with_their_folder_and_without_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name, by_folder = load_constitution("courteous_and_brief"), load_constitution("frontdesk/courteous_and_brief")
    assert by_name == by_folder
    assert by_name.name == "courteous-and-brief"


def test_a_copy_of_the_front_desks_folder_is_the_users_own_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("constitutions/frontdesk").mkdir(parents=True)
    Path("constitutions/frontdesk/courteous_and_brief.yaml").write_text(GOOD)
    assert load_constitution("courteous_and_brief").name == "test"
    assert load_constitution("frontdesk/courteous_and_brief").name == "test"
    Path("constitutions/courteous_and_brief.yaml").write_text(GOOD.replace("name: test", "name: nearer"))
    assert load_constitution("courteous_and_brief").name == "nearer"
    assert load_constitution("frontdesk/courteous_and_brief").name == "test"


def test_a_file_of_a_path_that_looks_like_a_name_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("frontdesk")
    Path("frontdesk/courteous_and_brief").write_text(GOOD)
    assert load_constitution("frontdesk/courteous_and_brief").name == "test"


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(ConstitutionError, match='did you mean "courteous_and_brief"\\?.*these exist: .*curt_and_brief'):
        load_constitution("courteous_and_breif")


def test_a_wrong_name_with_the_front_desks_folder_is_refused_with_the_nearest():
    with pytest.raises(ConstitutionError, match='did you mean "frontdesk/curt_and_brief"'):
        load_constitution("frontdesk/curt_and_breif")


def test_names_of_one_judge_are_listed_behind_the_others_with_their_folder():
    names = known_names("constitutions", ".yaml")
    last = [name for name in names if "/" in name]
    assert names[-len(last) :] == last
    assert "frontdesk/courteous_and_brief" in last
    assert "courteous_and_brief" not in names
    assert not any("/" in name for name in known_names("prompts", ".j2"))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a b", "x" * 65, "a\x00b", "frontdesk/..", "frontdesk/"])
def test_a_name_is_never_a_path(name):
    with pytest.raises(ConstitutionError, match="no constitution named"):
        load_constitution(name)


@pytest.mark.parametrize("name", known_names("constitutions", ".yaml"))
def test_every_shipped_constitution_is_valid(name):
    assert load_constitution(name).principles


@pytest.fixture
def judge_dir(tmp_path: Path) -> Path:
    vocabulary = {
        "words": ["prefer", "avoid", "the", "reply", "answer", "that", "is", "polite", "brief"],
        "wordings": ["Prefer the reply that is polite.", "Avoid the answer that is brief."],
    }
    (tmp_path / "principle_vocabulary.json").write_text(json.dumps(vocabulary))
    return tmp_path


def constitution_saying(text: str):
    return parse_constitution(f"name: x\nprinciples:\n  - id: a\n    text: {text}\n", where="c.yaml")


def test_a_principle_of_known_words_passes(judge_dir):
    check_wording(constitution_saying("Avoid the reply that is polite."), judge_dir=judge_dir)


def test_an_unknown_word_is_refused_with_principle_line_and_nearest_wording(judge_dir):
    with pytest.raises(ConstitutionError) as caught:
        check_wording(constitution_saying("Prefer the reply that is sarcastic."), judge_dir=judge_dir)
    sentence = caught.value.sentence
    assert 'the word "sarcastic" of principle "a"' in sentence
    assert "line 4" in sentence
    assert '"Prefer the reply that is polite."' in sentence


def test_a_known_word_in_capitals_is_refused_as_the_judge_never_read_it(judge_dir):
    with pytest.raises(ConstitutionError, match='write it in lower case, "polite"'):
        check_wording(constitution_saying("Prefer the reply that is POLITE."), judge_dir=judge_dir)


def test_a_word_that_was_never_met_is_named_before_one_in_capitals(judge_dir):
    with pytest.raises(ConstitutionError, match='the word "and"'):
        check_wording(constitution_saying("Prefer the POLITE and sarcastic reply."), judge_dir=judge_dir)


def test_numbers_and_other_scripts_are_words_too(judge_dir):
    for word in ("100", "höflich", "礼貌"):
        with pytest.raises(ConstitutionError, match=f'the word "{word}"'):
            check_wording(constitution_saying(f"Prefer the {word} reply."), judge_dir=judge_dir)


def test_a_judge_without_a_vocabulary_reads_any_word(tmp_path):
    check_wording(constitution_saying("Prefer the sarcastic reply."), judge_dir=tmp_path)


def test_the_nearest_wording_weighs_shared_words():
    vocabulary = PrincipleVocabulary(frozenset(), ("Avoid the brief answer.", "Prefer the reply that is polite."))
    assert find_nearest_wording("Prefer any reply which is polite", vocabulary) == "Prefer the reply that is polite."
