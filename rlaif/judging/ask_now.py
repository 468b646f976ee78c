"""Rendered prompts -> answers, asked at once and kept nowhere: for probes and checks of the judge itself.

Batches of like length, as large as the configuration lets them be. Probe pairs are asked in both orders, and their
answers combined as the pipeline combines them. Writes nothing to a ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlaif.config.judge import JudgeConfig
from rlaif.constitution.probe import PairJudge, ProbeAnswer
from rlaif.constitution.probe_file import Probe
from rlaif.constitution.render import JudgeTemplate
from rlaif.files.batch_plan import cut_into_batches
from rlaif.judging.modes import MODES
from rlaif.judging.modes.mode import Shown
from rlaif.judging.modes.pair import combine_orders
from rlaif.judging.questions import score_request
from rlaif.judging.unanswered import NOTHING_DECIDED, is_refusal, make_error, naming_next_step
from rlaif.judging.verdict import read_answer
from rlaif.models.endpoint.reading import NO_LOGPROBS
from rlaif.models.interface import ScoredReply, TokenScorer
from rlaif.models.readings import count_read
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
    sizes = [count_read(scorer.count_tokens, chat) + request.max_reason_tokens + 1 for chat in chats]
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
        # A pair's two questions stand side by side: its orders, or its replies where each is shown alone.
        chats = [chat for probe, principle in questions for chat in _render(probe, principle, template=template)]
        names = [f"probe {place}" for place in range(len(chats))]
        answers = ask_now(scorer, chats, ids=names, template=template, config=config, on_batch=on_batch)
        return [combine_answers(answers[at], answers[at + 1], template=template) for at in range(0, len(answers), 2)]

    return judge


def _render(probe: Probe, principle: Principle, *, template: JudgeTemplate) -> list[tuple[SegmentedMessage, ...]]:
    """Both orders of a pair, the listed one first; or each of its replies, where one is shown at a time."""
    mode, first, second = MODES[template.kind], Shown(probe.first), Shown(probe.second)
    shown = [[first], [second]] if mode.shows == "one" else [[first, second], [second, first]]
    return [mode.render(template, conversation=probe.messages, responses=one, principle=principle) for one in shown]


def combine_answers(
    listed: Judgement | FailedJudgement, swapped: Judgement | FailedJudgement, *, template: JudgeTemplate
) -> ProbeAnswer | FailureCause:
    """What a pair's two questions say together; the cause of the first failure where one has no answer."""
    if isinstance(listed, FailedJudgement):
        return listed.cause
    if isinstance(swapped, FailedJudgement):
        return swapped.cause
    if (compare := MODES[template.kind].compare_alone) is not None:
        p_first = compare([listed], [swapped], template).p_first
        return ProbeAnswer(p_first, flipped=False, tied=p_first == 0.5)
    combined = combine_orders(listed, swapped)
    tied = listed.verdict == swapped.verdict == "tie"
    return ProbeAnswer(combined.p_first, flipped=bool(combined.flipped), tied=tied)
