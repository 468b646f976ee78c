"""The ledger stores each thing once, acknowledges it, and gives it back unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from ledger_world import keep_world, make_judgement, make_world

from rlaif.errors import InputError, LedgerError
from rlaif.ledger.listing import LISTING_TABLES
from rlaif.ledger.schema import APPLICATION_ID, LEDGER_TYPES, SCHEMA_VERSION
from rlaif.ledger.store import Ledger
from rlaif.ledger.texts import KeptText
from rlaif.ledger.verify import verify
from rlaif.records import (
    RECORD_TYPES,
    CalibrationCard,
    Comparison,
    Judgement,
    Message,
    Prompt,
    Sample,
    Use,
    digest_text,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.sqlite")


def test_every_record_class_comes_back_equal_with_its_id(ledger: Ledger) -> None:
    world = make_world(is_signed=True)
    keep_world(ledger, world)
    assert {type(record) for record in world.records} == set(RECORD_TYPES)
    for record in world.records:
        restored = ledger.get(type(record), record.id)
        assert restored == record
        assert restored is not None
        assert (restored.id, restored.content_json) == (record.id, record.content_json)


def test_restored_content_hashes_to_the_same_id_without_the_stored_one(ledger: Ledger) -> None:
    for record in make_world().records:
        texts = {digest: text for name, digest in record.text_digests.items() if (text := record.texts[name])}
        again = type(record).restore(record.content_json, texts=texts)
        assert again.id == record.id


def test_asking_again_stores_nothing(ledger: Ledger) -> None:
    world = make_world()
    keep_world(ledger, world)
    before = ledger.head()
    again = ledger.append(world.records)
    assert (again.new, again.known, again.conflicting) == (0, len(world.records), [])
    assert ledger.head() == before


def test_the_same_record_twice_in_one_group_is_stored_once(ledger: Ledger) -> None:
    judgement = make_judgement("q1")
    appended = ledger.append([judgement, judgement])
    assert appended.outcomes == ["new", "known"]
    assert ledger.head().seq == 1


def test_a_second_answer_to_a_question_is_reported_and_not_stored(ledger: Ledger) -> None:
    first, second = make_judgement("q1"), make_judgement("q1", "second")
    ledger.append([first])
    appended = ledger.append([second, make_judgement("q2")])
    assert appended.outcomes == ["conflicting", "new"]
    assert appended.conflicting == [(second, first.id)]
    assert ledger.judgements_for(["q1"]) == {"q1": first}
    assert ledger.text(second.text_digests["raw_reply"] or "") is None


def test_two_answers_in_one_group_keep_the_first(ledger: Ledger) -> None:
    first, second = make_judgement("q1"), make_judgement("q1", "second")
    assert ledger.append([first, second]).outcomes == ["new", "conflicting"]
    assert ledger.judgements_for(["q1"]) == {"q1": first}


def test_what_was_observed_differently_is_the_same_answer(ledger: Ledger) -> None:
    judgement = make_judgement("q1")
    slower = judgement.changed(observed=judgement.observed.model_copy(update={"latency_s": 9.0}))
    assert ledger.append([judgement, slower]).outcomes == ["new", "known"]


def test_at_most_one_sample_is_held_for_what_was_asked_for(ledger: Ledger) -> None:
    sample = make_world().samples[0]
    other = sample.changed(text="something else")
    assert ledger.append([sample, other]).outcomes == ["new", "conflicting"]
    assert ledger.samples_for([sample.request_key, "unknown"]) == {sample.request_key: sample}


def test_failed_answers_are_counted_by_question_and_the_last_one_is_given(ledger: Ledger) -> None:
    failure = make_world().failure
    ledger.append([failure, failure.changed(attempt=2, cause="empty"), failure.changed(question_id="other")])
    assert ledger.failed_attempts([failure.question_id, "never"]) == {failure.question_id: 2}
    last = ledger.failures_for([failure.question_id, "never"])
    assert {key: (found.attempt, found.cause) for key, found in last.items()} == {failure.question_id: (2, "empty")}


def test_long_lists_of_ids_are_looked_up_whole(ledger: Ledger) -> None:
    judgements = [make_judgement(f"q{number}") for number in range(1203)]
    ledger.append(judgements)
    assert len(ledger.judgements_for(j.question_id for j in judgements)) == 1203
    assert len(ledger.find(Judgement, [*(j.id for j in judgements), "unknown"])) == 1203


def test_the_records_of_a_stage_come_back_in_the_order_of_their_use(ledger: Ledger) -> None:
    judgements = [make_judgement(f"q{number}") for number in range(20)]
    ledger.append(judgements)
    backwards = judgements[::-1]
    ledger.append(
        Use(run="001", round=0, stage="3_judgements", record_table="judgements", record_id=j.id) for j in backwards
    )
    assert ledger.used("001", 0, "3_judgements", Judgement) == backwards
    assert ledger.used("001", 1, "3_judgements", Judgement) == []
    assert ledger.used("001", 0, "3_judgements", Comparison) == []


def test_a_used_record_that_is_missing_is_named(ledger: Ledger) -> None:
    ledger.append([Use(run="001", round=0, stage="s", record_table="judgements", record_id="gone")])
    with pytest.raises(LedgerError, match="judgements gone, used by run 001, is missing"):
        ledger.used("001", 0, "s", Judgement)


def test_equal_long_texts_are_stored_once(ledger: Ledger) -> None:
    long = make_world().samples[0].changed(text="a long reply " * 100)
    ledger.append([long, long.changed(index=7), long.changed(index=8)])
    assert ledger.rows("SELECT count(*) FROM texts") == [(1,)]
    assert ledger.rows("SELECT count(*) FROM short_texts") == [(0,)]
    assert ledger.get(Sample, long.id) == long
    assert verify(ledger).ok


def test_a_short_text_of_a_record_is_found_by_its_digest_too(ledger: Ledger) -> None:
    judgement = make_judgement("q1")
    ledger.append([make_judgement(f"other{n}") for n in range(30)])
    ledger.append([judgement])
    assert ledger.text(judgement.text_digests["reason"] or "") == judgement.reason


def test_a_kept_text_is_found_by_its_digest(ledger: Ledger) -> None:
    ledger.put_texts(["a template", "a principle", "a template"])
    assert ledger.text(digest_text("a template")) == "a template"
    assert ledger.text("0" * 64) is None
    assert ledger.head().seq == 2


def test_texts_with_nul_bytes_and_every_script_come_back(ledger: Ledger) -> None:
    texts = ["a\0b", "", "é日本🙂", "'; DROP TABLE texts; --", "\u202eabc"]
    ledger.put_texts(texts)
    assert [ledger.text(digest_text(text)) for text in texts] == texts
    assert verify(ledger).ok


def test_text_that_is_not_unicode_is_refused_and_nothing_of_its_group_is_stored(ledger: Ledger) -> None:
    broken = Prompt(messages=(Message(role="user", content="fine"),), source="\ud800")
    sample = make_world().samples[0].changed(text="\ud800")
    for record in (broken, sample):
        with pytest.raises(LedgerError, match="cannot be stored"):
            ledger.append([make_judgement("q1"), record])
    assert ledger.head().seq == 0


def test_a_redacted_text_is_gone_from_the_disk_and_the_record_keeps_its_id(ledger: Ledger) -> None:
    secret = "the private detail is 4711-0815"
    sample = make_world().samples[0].changed(text=secret)
    ledger.append([sample])
    assert ledger.redact_text(digest_text(secret), reason="private", author="ann", at="2026-01-01T00:00:00Z")
    restored = ledger.get(Sample, sample.id)
    assert restored is not None
    assert (restored.text, restored.id, restored.request_key) == ("[redacted]", sample.id, sample.request_key)
    assert restored.text_digests == sample.text_digests
    assert verify(ledger).ok
    files = [ledger.path, *ledger.path.parent.glob("ledger.sqlite-wal")]
    assert not any(secret.encode() in file.read_bytes() for file in files)


def test_a_redacted_text_stays_redacted_when_it_comes_again(ledger: Ledger) -> None:
    sample = make_world().samples[0]
    ledger.append([sample])
    ledger.redact_text(digest_text(sample.text), reason="private", author="ann", at="")
    ledger.append([sample.changed(index=5)])
    ledger.put_texts([sample.text])
    assert ledger.text(digest_text(sample.text)) is None
    assert verify(ledger).ok


def test_a_prompt_can_be_redacted_too(ledger: Ledger) -> None:
    prompt = make_world().prompt
    ledger.append([prompt])
    ledger.redact_text(prompt.text_digests["messages"] or "", reason="private", author="ann", at="")
    restored = ledger.get(Prompt, prompt.id)
    assert restored is not None
    assert (restored.id, restored.messages[0].content) == (prompt.id, "[redacted]")
    assert verify(ledger).ok


def test_a_text_that_is_not_there_cannot_be_redacted(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="there is no text"):
        ledger.redact_text("0" * 64, reason="r", author="a", at="")
    assert ledger.head().seq == 0


def test_a_ledger_that_is_read_only_takes_nothing(ledger: Ledger) -> None:
    ledger.append([make_judgement("q1")])
    with Ledger.open(ledger.path, read_only=True) as reader:
        assert reader.head() == ledger.head()
        with pytest.raises(LedgerError):
            reader.append([make_judgement("q2")])


def test_a_missing_ledger_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no ledger"):
        Ledger.open(tmp_path / "ledger.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    with apsw.Connection(str(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(LedgerError, match=r"schema 2, and this rlaif reads schema 1.*install the rlaif"):
        Ledger.open(path)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with apsw.Connection(str(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("prompt,response\n" * 100)
    with pytest.raises(LedgerError, match="no ledger, or damaged"):
        Ledger.open(path)


def test_an_open_ledger_syncs_every_commit_and_trusts_no_schema(ledger: Ledger) -> None:
    asked = ("journal_mode", "synchronous", "trusted_schema", "application_id")
    said = [ledger.rows(f"PRAGMA {name}")[0][0] for name in asked]
    assert said == ["wal", 2, 0, APPLICATION_ID]


def test_every_record_class_has_a_table(ledger: Ledger) -> None:
    tables = {name for (name,) in ledger.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables == {"texts", "short_texts", *LISTING_TABLES, *(kind.table for kind in LEDGER_TYPES)}
    assert {*RECORD_TYPES, KeptText} < set(LEDGER_TYPES)


def test_a_fresh_ledger_opened_by_four_processes_at_once_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    code = (
        "import sys; from rlaif.ledger.store import Ledger; from rlaif.ledger.texts import KeptText\n"
        "with Ledger.open(sys.argv[1]) as ledger: ledger.append([KeptText(text=sys.argv[2])])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    with Ledger.open(path, read_only=True) as ledger:
        assert verify(ledger).rows == 4
        assert verify(ledger).ok


def test_a_stage_that_is_made_again_uses_what_its_last_making_used(ledger: Ledger) -> None:
    judgements = [make_judgement(f"q{number}") for number in range(3)]
    ledger.append(judgements)

    def use(used: list[Judgement]) -> None:
        making = ledger.makings("001", 0, "4_preferences").number
        ledger.append(
            Use(run="001", round=0, stage="4_preferences", record_table="judgements", record_id=j.id, making=making)
            for j in used
        )

    use(judgements[:2])
    ledger.make_again("001", 0, "4_preferences")
    assert ledger.used("001", 0, "4_preferences", Judgement) == []
    use(judgements[1:])
    assert ledger.used("001", 0, "4_preferences", Judgement) == judgements[1:]
    ledger.make_again("001", 0, "4_preferences")
    use(judgements[:2])
    assert ledger.used("001", 0, "4_preferences", Judgement) == judgements[:2], "as at first, and counted anew"
    assert ledger.makings("001", 0, "4_preferences").number == 2
    assert ledger.makings("001", 1, "4_preferences").number == 0
    assert verify(ledger).ok


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A ledger as it was made before there were calibrations, panels, spot checks, tests of edits and disputes."""
    path = tmp_path / "older.sqlite"
    with Ledger.open(path) as ledger:
        ledger.append([make_judgement("q")])
    file = apsw.Connection(str(path))
    file.execute("DROP TABLE calibrations")
    file.execute("DROP TABLE panels")
    file.execute("DROP TABLE spot_checks")
    file.execute("DROP TABLE edit_tests")
    file.execute("DROP TABLE edit_outcomes")
    file.execute("DROP TABLE disputes")
    file.close()
    return path


def test_an_older_ledger_gets_the_tables_added_since(older: Path) -> None:
    world = make_world()
    with Ledger.open(older) as ledger:
        assert list(ledger.judgements_for(["q"])) == ["q"]
        keep_world(ledger, world)
        (card,) = (record for record in world.records if isinstance(record, CalibrationCard))
        assert ledger.get(CalibrationCard, card.id) == card
        assert verify(ledger).ok


def test_an_older_ledger_can_be_read_and_verified_as_it_is(older: Path) -> None:
    before = older.read_bytes()
    with Ledger.open(older, read_only=True) as ledger:
        assert list(ledger.judgements_for(["q"])) == ["q"]
        assert ledger.find(CalibrationCard, ["x"]) == {}
        assert ledger.head().seq == 1
        assert verify(ledger).ok
    assert older.read_bytes() == before


def test_a_table_that_was_always_there_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    file = apsw.Connection(str(path))
    file.execute("DROP TABLE human_labels")
    file.close()
    with Ledger.open(path, read_only=True) as ledger:
        assert not verify(ledger).ok
