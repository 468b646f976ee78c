"""A judged run -> the health of its judge: what the ledger tells, and, where asked for, whether it still answers so.

Figures are computed in `rlaif.evaluation`, agreement in `rlaif.calibration`. Loads no model unless sentinels are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rlaif.calibration.agreement import measure_agreement
from rlaif.errors import StageError
from rlaif.evaluation.judge_health import JudgeHealth
from rlaif.judge_facts import check_health
from rlaif.ledger.queries import find_comparisons
from rlaif.preferences.diff import decide
from rlaif.records import Agreement, Comparison, Model, Value
from rlaif.sentinels import SentinelCheck, check_sentinels
from rlaif.stored_run import JUDGED, look_at_run
from rlaif.work import Work


class JudgesAgree(Value):
    """Two judges on the same pairs under the same principles."""

    judges: tuple[str, str]
    """What each is called, this run's first; the beginning of the fingerprint's id tells them apart."""
    agreement: Agreement


class JudgeCheck(Value):
    run: str
    round: int
    judge: str
    judge_id: str
    constitution: str
    health: JudgeHealth
    judges: tuple[JudgesAgree, ...]
    """This run's judge and others that judged the same pairs, in any run of the ledger."""
    sentinels: SentinelCheck | None
    """None: not asked for."""


def check_judge_of_run(run: str | None, *, runs_dir: Path, sentinels: bool = False) -> JudgeCheck:
    """The named run or the newest, at its newest judged round. `sentinels`: load the judge and ask it again."""
    with look_at_run(runs_dir, run, read_only=not sentinels) as work:
        health = check_health(work)
        if health is None:
            raise StageError(
                "every question to this run's judge failed: there is nothing to compare",
                where=str(work.run.path),
                fix="see `rlaif audit list --failed`",
            )
        comparisons = work.used(JUDGED, Comparison)
        judge_id = comparisons[0].judge_id
        return JudgeCheck(
            run=work.run.name,
            round=work.round,
            judge=_name(work, judge_id),
            judge_id=judge_id,
            constitution=work.constitution.name,
            health=health,
            judges=tuple(_compare_judges(work, comparisons)),
            sentinels=check_sentinels(work) if sentinels else None,
        )


def _name(work: Work, judge_id: str) -> str:
    model = work.ledger.get(Model, judge_id)
    name = Path(model.observed.name).name if model is not None else ""
    return f"{name or 'unnamed'} {judge_id[:8]}"


def _compare_judges(work: Work, comparisons: Sequence[Comparison]) -> list[JudgesAgree]:
    """Every two judges that compared some of the run's pairs under the same principle."""
    wanted = {(c.sample_ids, c.principle.id, c.principle.text_digest): c.prompt_id for c in comparisons}
    by_judge: dict[str, dict[tuple[tuple[str, str], str, str], Comparison]] = {}
    others = find_comparisons(work.ledger, dict.fromkeys(c.prompt_id for c in comparisons))
    for comparison in (*comparisons, *others):  # the run's own stand: setdefault keeps the first
        key = (comparison.sample_ids, comparison.principle.id, comparison.principle.text_digest)
        if key in wanted:
            by_judge.setdefault(comparison.judge_id, {}).setdefault(key, comparison)
    found = []
    for one, other in combinations(by_judge, 2):
        shared = [key for key in by_judge[one] if key in by_judge[other]]
        if shared:
            agreement = measure_agreement(
                [decide(by_judge[one][key].p_first) for key in shared],
                [decide(by_judge[other][key].p_first) for key in shared],
                clusters=[wanted[key] for key in shared],
            )
            found.append(JudgesAgree(judges=(_name(work, one), _name(work, other)), agreement=agreement))
    return found
