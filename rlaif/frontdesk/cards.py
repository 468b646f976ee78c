"""The model cards of the shipped pair: measured figures in, README.md texts out.

Every number on a card comes from judge_quality.py or from sampling the policy; nothing is written by hand.
Does not measure and does not train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.frontdesk import truth
from rlaif.frontdesk.judge_quality import Figures, Judged, ScoreFigures, by_principle, share_right, summarise

FRONT_MATTER = (
    "---\nlicense: apache-2.0\nlanguage: en\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n"
)
MAKE = "`python -m rlaif.frontdesk.train_models`"
SIZE = "LlamaForCausalLM, 3 layers, width 128, 4 heads, untied embeddings, word-level vocabulary"


class PolicyFigures(NamedTuple):
    """What sampling the policy on held-out prompts showed."""

    n: int
    eos_rate: float
    mean_words: float
    measures: Mapping[str, float]
    clear_shares: Mapping[str, float]  # share of its pairs of clear contrast, per attribute


class JudgeFigures(NamedTuple):
    """The judged pairs of both sources, and the questions that got no verdict."""

    drawn: Sequence[Judged]
    policy: Sequence[Judged]
    scores: ScoreFigures  # of the policy's single replies
    failed: int
    ms_per_judgement: float


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def principle_table(figures: JudgeFigures) -> str:
    """Accuracy and biases per principle, for both sources of pairs."""
    rows = []
    for source, judged in (("drawn", figures.drawn), ("policy", figures.policy)):
        for name, some in by_principle(judged).items():
            row = summarise(some)
            share = sum(r.is_clear for r in some) / max(1, len(some))
            shares = [share, row.clear, row.clear_shown_first, row.clear_shown_second, row.close, row.reasons]
            percents = [_percent(value) for value in (*shares, row.flips)]
            rows.append([source, name, str(row.n), *percents, f"{row.position:.2f}"])
    head = [
        "pairs", "principle", "n", "clear", "clear right", "clear, better first", "clear, better second",
        "close right", "reasons exact", "order flips", "position",
    ]  # fmt: skip
    return _table(head, rows)


def summary_table(figures: JudgeFigures) -> str:
    """Planted and recovered effects and the headline accuracies, for both sources of pairs."""
    drawn, policy = summarise(figures.drawn), summarise(figures.policy)

    def line(name: str, planted: str, pick: str, *, percent: bool) -> list[str]:
        values = [getattr(some, pick) for some in (drawn, policy)]
        return [name, planted, *(_percent(v) if percent else f"{v:.3f}" for v in values)]

    rows = [
        line(
            "position effect (logits for the first place)",
            f"{truth.POSITION_BIAS}",
            "position",
            percent=False,
        ),
        line("length effect (logits per SD)", f"{truth.LENGTH_BIAS}", "length_slope", percent=False),
        line("gap slope (logits per step)", f"{truth.K_PER_STEP}", "gap_slope", percent=False),
        line("clear pairs right, both orders combined", "", "clear", percent=True),
        _worst_line(figures),
        line("clear pairs right, better reply shown first", "", "clear_shown_first", percent=True),
        line("clear pairs right, better reply shown second", "", "clear_shown_second", percent=True),
        line("clear pairs whose verdict flips with the order", "", "clear_flips", percent=True),
        line("close pairs right, both orders combined", "", "close", percent=True),
        _wording_line(figures, held_out=False),
        _wording_line(figures, held_out=True),
        line("reasons exactly right", "", "reasons", percent=True),
        line("verdict flips with the order", "", "flips", percent=True),
        line("labels beyond .01 / .99", "", "beyond", percent=True),
        line("mean distance from the true probability", "", "calibration_error", percent=False),
    ]
    return _table(["what", "planted", "drawn pairs", "the policy's pairs"], rows)


def _worst_line(figures: JudgeFigures) -> list[str]:
    cells = ["clear pairs right, worst principle", ""]
    for judged in (figures.drawn, figures.policy):
        per = {name: summarise(some).clear for name, some in by_principle(judged).items()}
        worst = min(per, key=lambda name: per[name])
        cells.append(f"{_percent(per[worst])} ({worst})")
    return cells


def _wording_line(figures: JudgeFigures, *, held_out: bool) -> list[str]:
    cells = ["clear pairs right, " + ("wordings never trained on" if held_out else "wordings trained on"), ""]
    for judged in (figures.drawn, figures.policy):
        some = [row for row in judged if row.wording_held_out == held_out and row.is_clear]
        cells.append(_percent(share_right(some)))
    return cells


def _seeds_table(shipped: Figures, others: Sequence[Figures]) -> str:
    if not others:
        return ""
    names = ["position", "length_slope", "gap_slope", "clear", "clear_flips"]
    rows = [
        [str(seed), *(f"{getattr(figures, name):.3f}" for name in names)]
        for seed, figures in enumerate([shipped, *others])
    ]
    head = ["training seed", "position", "length", "gap slope", "clear right", "clear flips"]
    title = "## Over training seeds, on the policy's pairs\n\nThe first is the one that is shipped."
    return f"\n{title}\n\n{_table(head, rows)}\n"


def judge_card(figures: JudgeFigures, *, made: str, others: Sequence[Figures] = ()) -> str:
    """The judge's README.md."""
    return f"""{FRONT_MATTER}# The front desk's judge

A tiny causal language model ({SIZE}) that reads a conversation, two replies and one principle, writes a
one-line reason and then a verdict, " A" or " B"; or it reads one reply and writes a score, " 1" to " 10"
(`prompts/frontdesk_score.j2`). It is made from scratch by {MAKE}: {made}.

It knows only the words in `principle_vocabulary.json`; a principle with another word means nothing to it.

**It is fallible on purpose.** The verdicts it learnt from were drawn: the logit of "first" is
{truth.K_PER_STEP} per step (25 points) of the truth gap, plus {truth.POSITION_BIAS} for the first place, plus
{truth.LENGTH_BIAS} per standard deviation of length ({truth.LENGTH_SD} words; no more beyond
{truth.LENGTH_BIAS_LIMIT:.0f} standard deviations) for the longer reply.
With these numbers one step is decided {_percent(truth.annotator_probability(25))} of the time and three steps
{_percent(truth.annotator_probability(75))} by the simulated annotator, who has that slope and neither bias.

## Measured

Held-out prompts; replies drawn from the mixture and replies sampled from the start policy. A pair is clear
when the simulated annotator decides it with probability {truth.CLEAR_PROBABILITY} or more, and close when it is
neither clear nor even. The judge writes its own greedy reason first; both orders are asked, and
s = (l(A,B) - l(B,A)) / 2. Half of the wordings were never trained on. Questions without a verdict: {figures.failed}.
{figures.ms_per_judgement:.1f} ms a judgement with its reason, on one thread in batches of 128.

{summary_table(figures)}

## Single replies, scored 1 to 10

The score it learnt from was drawn about 1 + 9 points times how well the reply keeps the principle, with a
standard deviation of {truth.SCORE_SD} points and {truth.SCORE_LENGTH_BIAS} points per standard deviation of length
above the mean.
{figures.scores.n} scores of the policy's replies ({figures.scores.failed} failed): the expected score lies
{figures.scores.error:.2f} points from the planted mean and correlates {figures.scores.correlation:.3f} with the truth;
{_percent(figures.scores.order_right)} of clear pairs are ordered as the truth orders them, and
{_percent(figures.scores.reasons)} of the reasons are exactly right.
{_seeds_table(summarise(figures.policy), others)}
## Per principle

{principle_table(figures)}

Made by `python benchmarks/frontdesk_judge.py --write-cards`.
"""


def policy_card(figures: PolicyFigures, *, made: str) -> str:
    """The policy's README.md."""
    rows = [[name, f"{figures.measures[name]:.1f}", _percent(figures.clear_shares[name])] for name in truth.ATTRIBUTES]
    table = _table(["measure", "mean, 0-100", "pairs of clear contrast"], rows)
    return f"""{FRONT_MATTER}# The front desk's start policy

A tiny causal language model ({SIZE}) that answers a visitor's question from a notice. It is made from scratch
by {MAKE}: {made}. It imitates a mixture of good and bad replies, so that every principle has room
both ways; it is a start for training, not a good desk.

## Measured

{figures.n} held-out prompts, temperature 1: {_percent(figures.eos_rate)} of the replies end by themselves
within 64 tokens; mean length {figures.mean_words:.1f} words. The truth per measure, and the share of pairs of
its replies to one prompt that are of clear contrast:

{table}

Made by `python benchmarks/frontdesk_judge.py --write-cards`.
"""


def figures_line(figures: Figures) -> str:
    """One line for a terminal."""
    return (
        f"n {figures.n} clear {_percent(figures.clear)} close {_percent(figures.close)} "
        f"position {figures.position:.3f} length {figures.length_slope:.3f} gap {figures.gap_slope:.3f} "
        f"flips {_percent(figures.flips)} beyond {_percent(figures.beyond)}"
    )
