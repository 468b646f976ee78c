"""Rendered prompts -> answers, asked at once and kept nowhere: for probes and checks of the judge itself.

Batches of like length, as large as the configuration lets them be. Probe pairs are asked in both orders, and their
answers combined as the pipeline combines them. Writes nothing to a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.probe import PairJudge, ProbeAnswer
from rlaif.constitution.probe_file import Probe
from rlaif.constitution.render import JudgeTemplate, render_conversation
from rlaif.files.batch_plan import cut_into_batches
from rlaif.judging.modes.pair import combine_orders, render
from rlaif.judging.questions import score_request
from rlaif.judging.unanswered import NOTHING_DECIDED, is_refusal, make_error, naming_next_step
from rlaif.judging.verdict import read_answer
from rlaif.models.endpoint.reading import NO_LOGPROBS
from rlaif.models.interface import ScoredReply, TokenScorer
from rlaif.records import FailedJudgement, FailureCause, Judgement, Observed, Principle, SegmentedMessage

OnBatch = Callable[[int, int], None]
"""Called after each batch with the number of its questions and of those that failed."""


def ask_now(
    scorer: TokenScorer,
    chats: Sequence[tuple[SegmentedMessage, ...]],
    *,
    ids: Sequence[str],
    template: JudgeTemplate,
    num_shown: Sequence[int] | None = None,
    config: JudgeConfig,
    on_batch: OnBatch | None = None,
) -> list[Judgement | FailedJudgement]:
    """The answer to every prompt, in the order given; `ids` name the questions in the answers.

    `num_shown`: how many responses each prompt shows, for a template that ranks. Raises `Unanswered` where the judge's
    server gave no answer at all, unless the server refused that one question: see unanswered.py.
    """
    request = score_request(template)
    sizes = [scorer.count_tokens(chat) + request.max_reason_tokens + 1 for chat in chats]
    order = sorted(range(len(chats)), key=lambda place: sizes[place])
    answers: dict[int, Judgement | FailedJudgement] = {}
    for places in cut_into_batches([order], size=sizes.__getitem__, budget=config.batch_tokens):
        with naming_next_step(NOTHING_DECIDED):
            replies = scorer.score([chats[i] for i in places], request=request)
        _refuse_unanswered(replies, total=len(chats))
        for place, reply in zip(places, replies, strict=True):
            answers[place] = read_answer(
                reply, question_id=ids[place], template=template,
                num_shown=len(template.choices) if num_shown is None else num_shown[place],
                min_label_mass=config.min_label_mass, attempt=1, observed=Observed(),
            )  # fmt: skip
        if on_batch is not None:
            on_batch(len(places), sum(isinstance(answers[place], FailedJudgement) for place in places))
    return [answers[place] for place in range(len(chats))]


def _refuse_unanswered(replies: Sequence[ScoredReply], *, total: int) -> None:
    served = [reply.served for reply in replies if reply.failure == "endpoint" and reply.served is not None]
    if words := [one.detail for one in served if one.detail != NO_LOGPROBS and not is_refusal(one.detail)]:
        raise make_error(words, total=total, host=served[0].host, fix=NOTHING_DECIDED)


def make_probe_judge(
    scorer: TokenScorer, *, template: JudgeTemplate, config: JudgeConfig, on_batch: OnBatch | None = None
) -> PairJudge:
    """The function through which `rlaif.constitution.probe` asks a judge."""

    def judge(questions: Sequence[tuple[Probe, Principle]]) -> list[ProbeAnswer | FailureCause]:
        # Both orders of a pair stand side by side: the listed one at an even place, the swapped one after it.
        chats = [
            _render(probe, principle, template=template, swapped=swapped)
            for probe, principle in questions
            for swapped in (False, True)
        ]
        names = [f"probe {place}" for place in range(len(chats))]
        answers = ask_now(scorer, chats, ids=names, template=template, config=config, on_batch=on_batch)
        return [combine_answers(answers[at], answers[at + 1]) for at in range(0, len(answers), 2)]

    return judge


def _render(
    probe: Probe, principle: Principle, *, template: JudgeTemplate, swapped: bool
) -> tuple[SegmentedMessage, ...]:
    responses = (probe.second, probe.first) if swapped else (probe.first, probe.second)
    conversation = render_conversation(probe.messages)
    return render(template, conversation=conversation, responses=responses, principle=principle.text)


def combine_answers(
    listed: Judgement | FailedJudgement, swapped: Judgement | FailedJudgement
) -> ProbeAnswer | FailureCause:
    """What both orders of a pair say together; the cause of the first failure where an order has no verdict."""
    if isinstance(listed, FailedJudgement):
        return listed.cause
    if isinstance(swapped, FailedJudgement):
        return swapped.cause
    combined = combine_orders(listed, swapped)
    tied = listed.verdict == swapped.verdict == "tie"
    return ProbeAnswer(combined.p_first, flipped=bool(combined.flipped), tied=tied)
