"""What was submitted is known again after any end, and a step that was not written was not taken."""

import pytest

from rlaif.errors import RunFolderError
from rlaif.judging.batch_journal import BatchJournal, SentLine, Submission
from rlaif.models.budget import Spending
from rlaif.models.endpoint.settings import Settings

SENT = [SentLine("q1", 1, 2, 0, 100), SentLine("q2", 3, 2, 2, 250)]


def prepare(journal: BatchJournal) -> Submission:
    submission = Submission(journal.next_name(), 2, Spending(2, 500, 0.25), Settings(0.0, 20))
    journal.requests_path(submission.name).write_text("requests")
    journal.prepare(submission, SENT)
    return submission


def test_a_submission_is_read_back_as_it_was_noted(tmp_path):
    journal = BatchJournal(tmp_path)
    name = prepare(journal).name
    journal.uploaded(name, "file-1")
    assert not journal.requests_path(name).exists()
    journal.submitted(name, "batch-1")
    journal.learn(Settings(None, 5, "max_completion_tokens"))
    again = BatchJournal(tmp_path)
    assert again.open == {"0001": Submission("0001", 2, Spending(2, 500, 0.25), Settings(0.0, 20), "file-1", "batch-1")}
    assert again.sent(name) == {line.question_id: line for line in SENT}
    assert again.settings == Settings(None, 5, "max_completion_tokens")
    assert again.next_name() == "0002"


def test_a_collected_one_is_open_no_more_and_leaves_no_files(tmp_path):
    journal = BatchJournal(tmp_path)
    name = prepare(journal).name
    journal.uploaded(name, "file-1")
    journal.collected(name, status="completed")
    assert (journal.open, BatchJournal(tmp_path).open) == ({}, {})
    assert list((tmp_path / "batches").iterdir()) == []
    assert BatchJournal(tmp_path).next_name() == "0002"


def test_one_that_never_left_this_machine_is_forgotten(tmp_path):
    prepare(BatchJournal(tmp_path))
    assert BatchJournal(tmp_path).open == {}
    assert list((tmp_path / "batches").iterdir()) == []


def test_a_damaged_line_is_refused_and_named(tmp_path):
    prepare(BatchJournal(tmp_path))
    path = tmp_path / "batches.jsonl"
    path.write_bytes(b"{oops\n" + path.read_bytes())
    with pytest.raises(RunFolderError, match="the list of batches is damaged .*batches.jsonl:1"):
        BatchJournal(tmp_path)
