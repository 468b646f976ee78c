"""Samples -> judgements: ask a judge every question once, and combine what it says of each pair.

An answer counts once it is in the ledger, and a question that the ledger answers is not asked again. Questions are
made in questions.py, asked in streaming.py or batches.py, and combined in collect.py. Does not decide preferences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rlaif.judging.asking import Asking
from rlaif.judging.batches import BatchAsker
from rlaif.judging.collect import Judging, collect_judging
from rlaif.judging.modes.mode import Planned
from rlaif.judging.open_questions import Rendered
from rlaif.judging.question_log import LOG_NAME
from rlaif.judging.questions import GREEDY, plan_questions, render_questions
from rlaif.judging.streaming import StreamAsker
from rlaif.judging.unanswered import refuse_unanswered
from rlaif.models.interface import StreamingScorer, TokenScorer
from rlaif.records import Prompt, Sample

__all__ = ["Asking", "Judging", "judge_pairs"]


def judge_pairs(
    pairs: Sequence[tuple[Sample, Sample]],
    *,
    prompts: Mapping[str, Prompt],
    asking: Asking,
    scorer: TokenScorer,
    plan_path: Path,
    label: str = "judgements",
) -> Judging:
    """What a judge says of each pair under each principle, asked in the mode of the template: see modes/.

    A judge that holds many questions at once is asked in a stream, another one in planned batches. `plan_path`: the
    file of those batches; the log of the questions sent in a stream is written beside it. `label`: the name of the
    progress bar; empty to print nothing.

    Raises `Unanswered` while questions got no answer at all and may be asked again: see unanswered.py.
    """
    judge = scorer.fingerprint
    asking.ledger.append([judge, asking.constitution])
    principles = asking.constitution.principles
    texts = [text for principle in principles for text in (principle.text, principle.opposite) if text]
    asking.ledger.put_texts([asking.template.source, *texts])
    stream = scorer if isinstance(scorer, StreamingScorer) else None

    def render() -> Rendered:
        return render_questions(
            _plan(pairs, asking), prompts=prompts, template=asking.template, judge_id=judge.id,
            decoding=GREEDY if stream is None else stream.decoding,
        )  # fmt: skip

    num_votes, host, unsent_because = 1, "", ""
    if stream is not None:
        num_votes, host = stream.num_votes, stream.host
        asker = StreamAsker(stream, asking=asking, log_path=plan_path.parent / LOG_NAME)
        asker.ask(render, total=sum(1 for _ in _plan(pairs, asking)), label=label)
        unsent_because = asker.unsent_because
    questions = [question for question, _ in render()]
    if stream is None:
        in_batches = BatchAsker(pairs, prompts=prompts, asking=asking, scorer=scorer)
        in_batches.ask_all(questions, plan_path=plan_path, label=label)
    judging = collect_judging(questions, pairs=pairs, asking=asking, num_votes=num_votes)
    refuse_unanswered(judging, asking=asking, host=host, unsent_because=unsent_because)
    return judging


def _plan(pairs: Sequence[tuple[Sample, Sample]], asking: Asking) -> Iterator[Planned]:
    return plan_questions(
        pairs, constitution=asking.constitution, template=asking.template, config=asking.config,
        draw_seed=asking.draw_seed,
    )  # fmt: skip
