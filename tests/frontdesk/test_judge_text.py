"""The judge's words: wordings, template, reason and tokenizer agree with one another."""

from __future__ import annotations

import json
import random

from rlaif.constitution.render import load_template
from rlaif.frontdesk import JUDGE_DIR, judge_text, wordings
from rlaif.frontdesk.replies import break_reply, draw_reply
from rlaif.frontdesk.tokenizer import build_tokenizer
from rlaif.frontdesk.world import draw_scene

TOKENIZER = build_tokenizer()


def encode(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False))


def test_training_and_held_out_wordings_are_disjoint_and_about_a_fifth_is_held_out() -> None:
    trained = {w.text for w in wordings.wordings(held_out=False)}
    held_out = {w.text for w in wordings.wordings(held_out=True)}
    assert not trained & held_out
    assert 0.15 < len(held_out) / (len(trained) + len(held_out)) < 0.25


def test_every_attribute_has_trained_and_held_out_wordings_in_both_poles() -> None:
    for held_out in (False, True):
        meanings = {(w.attribute, w.polarity) for w in wordings.wordings(held_out=held_out)}
        assert meanings == {(name, pole) for name, _ in wordings.PHRASES for pole in (1, -1)}


def test_a_forbidding_frame_turns_the_meaning_of_its_phrase_around() -> None:
    prefer = wordings.find_wording("Prefer the reply that is polite.")
    avoid = wordings.find_wording("Avoid the reply that is polite.")
    rude = wordings.find_wording("The message should not be rude.")
    assert prefer is not None
    assert avoid is not None
    assert rude is not None
    assert (prefer.polarity, avoid.polarity, rude.polarity) == (1, -1, 1)


def test_no_wording_has_two_meanings() -> None:
    texts = [w.text for w in wordings.all_wordings()]
    assert len(texts) == len(set(texts))


def test_the_rendered_prompt_has_the_conversation_first_and_the_principle_last() -> None:
    pieces = {"conversation": "user: Hi", "first": "{{ second }}", "second": "At nine.", "principle": "Be polite."}
    text = judge_text.judge_prompt_text(judge_text.PAIR_TEMPLATE, pieces=pieces)
    assert text == ("Conversation:\nuser: Hi\nReply A:\n{{ second }}\nReply B:\nAt nine.\nPrinciple:\nBe polite.")


def test_the_templates_declare_the_markers_verdicts_and_scores_that_training_used() -> None:
    pair, score = load_template(judge_text.PAIR_TEMPLATE), load_template(judge_text.SCORE_TEMPLATE)
    assert (pair.verdict_marker, pair.choices) == (judge_text.VERDICT_MARKER, judge_text.VERDICTS)
    assert (score.verdict_marker, score.choices) == (judge_text.SCORE_MARKER, judge_text.SCORES)
    for template in (pair, score):
        for choice in template.choices:
            marker = encode(template.verdict_marker)
            assert encode(template.verdict_marker + choice) == [*marker, *encode(choice)]
            assert len(encode(choice)) == 1


def test_the_reason_names_each_level_and_its_fit_to_the_principle() -> None:
    wording = wordings.Wording("The better reply is curt.", "courteous", -1)
    prompt = [{"role": "user", "content": "When does the museum open?"}]
    reason, gap = judge_text.true_reason(prompt, "Welcome, dear visitor!", "Look here.", wording=wording)
    assert reason == "Wants curt: A gracious, fits badly; B curt, fits mostly."
    assert gap == -75


def test_correctness_sets_the_value_of_each_reply_beside_the_notices() -> None:
    wording = wordings.Wording("The better reply is correct.", "correct", 1)
    notice = "Notice: The museum opens at nine, closes at five and is on the top floor."
    prompt = [{"role": "system", "content": notice}, {"role": "user", "content": "When does the museum open?"}]
    reason, gap = judge_text.true_reason(prompt, "At nine.", "At ten.", wording=wording)
    assert reason == "Wants correct: A nine for nine so right, fits fully; B ten for nine so wrong, fits badly."
    assert gap == 100
    seen = judge_text.see_reply(prompt, "Read the notice.")
    assert judge_text.score_reason_for(seen, wording=wording) == ("Wants correct: unanswered, fits weakly.", 25.0)


def test_every_text_of_the_world_survives_encoding_and_decoding_without_an_unknown_word() -> None:
    rng = random.Random(0)
    for number in range(300):
        scene = draw_scene(rng)
        reply = draw_reply(scene, rng=rng)
        texts = [reply, break_reply(reply, rng=rng), rng.choice(wordings.all_wordings()).text]
        texts += [message["content"] for message in scene.messages()]
        wording = wordings.all_wordings()[number]
        texts.append(judge_text.true_reason(scene.messages(), *texts[:2], wording=wording).reason)
        for text in texts:
            ids = encode(text)
            assert TOKENIZER.unk_token_id not in ids
            assert TOKENIZER.decode(ids) == text


def test_encoding_the_prompt_in_segments_gives_the_tokens_of_encoding_it_at_once() -> None:
    rng = random.Random(1)
    for _ in range(100):
        scene = draw_scene(rng)
        parts = {
            "conversation": judge_text.conversation_text(scene.messages()),
            "first": draw_reply(scene, rng=rng),
            "second": draw_reply(scene, rng=rng),
            "principle": rng.choice(wordings.all_wordings()).text,
        }
        segments = ["Conversation:\n", parts["conversation"], "\nReply A:\n", parts["first"], "\nReply B:\n"]
        segments += [parts["second"], "\nPrinciple:\n", parts["principle"]]
        together = encode(judge_text.judge_prompt_text(judge_text.PAIR_TEMPLATE, pieces=parts))
        assert [token for segment in segments for token in encode(segment)] == together


def test_padding_and_the_end_of_a_turn_are_different_tokens() -> None:
    assert TOKENIZER.pad_token_id != TOKENIZER.eos_token_id


def test_the_shipped_vocabulary_is_the_grammars() -> None:
    shipped = json.loads((JUDGE_DIR / "principle_vocabulary.json").read_text(encoding="utf-8"))
    assert shipped == wordings.principle_vocabulary()
    assert "polite" in shipped["words"]
    assert "sparkling" not in shipped["words"]
