"""A hundred thousand replies of known meaning: no label is wrong, and what is clear is read."""

from collections import Counter

from judge_replies import REQUESTS, make_replies

from rlaif.models.endpoint.reply import read_choice

NAME_OF = {request: name for name, request in REQUESTS.items()}


def test_no_reply_gets_a_label_that_it_does_not_give_and_clear_ones_are_read():
    clear, read, labelled, wrong = Counter(), Counter(), Counter(), []
    for reply in make_replies(100_000):
        finish = "length" if reply.is_cut_off else "stop"
        body = {"choices": [{"message": {"content": reply.text}, "finish_reason": finish}]}
        found = read_choice(body, request=reply.request)
        assert (found.verdict is None) == (found.failure is not None)
        if found.verdict not in reply.allowed:
            wrong.append((reply, found))
        name = NAME_OF[reply.request]
        labelled[name] += found.verdict is not None
        clear[name] += reply.is_clear
        read[name] += reply.is_clear and found.verdict is not None
    assert not [(reply.text, reply.allowed, found.verdict) for reply, found in wrong if found.verdict is not None][:5]
    assert min(labelled.values()) > 1000
    assert all(read[name] >= 0.99 * clear[name] for name in REQUESTS), (read, clear)
