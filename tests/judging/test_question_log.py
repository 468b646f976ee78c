"""The list of requests: what it counts after every way in which a run may have ended."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from rlaif.judging.question_log import LOG_NAME, QuestionLog, SentRequests, read_sent, read_streamed
from rlaif.models.budget import Spending


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / LOG_NAME


def test_each_request_counts_and_the_dearest_bounds_what_one_may_have_cost(path: Path) -> None:
    with QuestionLog(path) as log:
        log.write("a", Spending(1, 10, 0.5))
        log.write("b", Spending(1, 7, 0.0))
        log.write("a", Spending(1, 12, 0.1))
    assert read_sent(path.parent) == {
        "a": SentRequests(2, Spending(1, 12, 0.5)),
        "b": SentRequests(1, Spending(1, 7, 0.0)),
    }


def test_a_request_that_reached_no_server_counts_nothing(path: Path) -> None:
    with QuestionLog(path) as log:
        for key in ("a", "b", "b"):
            log.write(key, Spending(1, 10, 0.5))
        log.take_back("a")
        log.take_back("b")
    assert {key: sent.calls for key, sent in read_sent(path.parent).items()} == {"a": 0, "b": 1}


def test_a_list_of_an_older_version_is_counted_by_the_answers(path: Path) -> None:
    path.write_text("a\nb\na\n")
    with QuestionLog(path) as log:
        log.write("b", Spending(1, 3))
    sent = read_sent(path.parent)
    assert [sent[key].is_counted_by_answers for key in "ab"] == [True, True]
    assert [sent[key].calls for key in "ab"] == [0, 1]
    assert read_streamed(path.parent) == ["a", "b", "a", "b"]


def test_a_question_in_a_file_of_questions_is_counted_elsewhere(path: Path) -> None:
    with QuestionLog(path) as log:
        log.write_batched("a")
    assert read_sent(path.parent) == {"a": SentRequests()}
    assert read_streamed(path.parent) == ["a"]


@pytest.mark.parametrize("torn", ["b", "b 1", "b 10 0.", "b uns"])
def test_a_line_torn_by_a_kill_was_never_sent(path: Path, torn: str) -> None:
    path.write_text(f"a 10 0.5\n{torn}")
    assert set(read_sent(path.parent)) == {"a"}
    with QuestionLog(path) as log:
        log.write("c", Spending(1, 1))
    assert {key: sent.calls for key, sent in read_sent(path.parent).items()} == {"a": 1, "c": 1}


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=6), max_size=4))
def test_after_any_attempts_the_calls_are_the_requests_that_may_have_reached_a_server(attempts) -> None:
    """Each attempt opens the list again and is killed while it writes its next line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOG_NAME
        for requests in attempts:
            with QuestionLog(path) as log:
                for key, was_heard in requests:
                    log.write(key, Spending(1, 10, 0.25))
                    if not was_heard:
                        log.take_back(key)
            with path.open("ab") as file:
                file.write(b"a 10 0.2")
        sent = {key: requests.calls for key, requests in read_sent(Path(folder)).items() if requests.calls}
    assert sent == Counter(key for requests in attempts for key, was_heard in requests if was_heard)
