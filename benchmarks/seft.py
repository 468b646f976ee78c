"""What SEFT made of the front desk's policy: the revisions of each round, and the policy before and after.

    rlaif run --config examples/methods/seft.yaml --run seft
    python benchmarks/seft.py runs/seft

Reads the finished run's records and measures nothing itself. The front desk and its truth are simulated.

Writes benchmarks/results/seft.json; exits with 1 where the judge's mean score of the policy's own responses fell from a
round to the next, or a revision was not better on average.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rlaif.files.atomic import write_atomically
from rlaif.policy.methods.revision_record import Revision, read_revisions
from rlaif.stats.intervals import mean_interval

RESULTS = Path(__file__).parent / "results" / "seft.json"
COMMAND = "rlaif run --config examples/methods/seft.yaml --run seft && python benchmarks/seft.py runs/seft"


def summarise(revisions: Sequence[Revision]) -> dict[str, Any]:
    both = [(one.score, one.revised_score) for one in revisions]
    gain = mean_interval([after - before for before, after in both if before is not None and after is not None])
    assert gain is not None  # a round has responses with both scores
    return {
        "responses": len(revisions),
        "score": statistics.fmean(one.score for one in revisions if one.score is not None),
        "revised_score": statistics.fmean(one.revised_score for one in revisions if one.revised_score is not None),
        "gain": [gain.mean, gain.low, gain.high],
        "tags": dict(Counter(str(one.tag) for one in revisions)),
        "dropped": dict(Counter(one.dropped for one in revisions if one.dropped)),
        "unchanged": sum(one.revised == one.original for one in revisions),
    }


def read_measures(round_dir: Path) -> dict[str, list[float]]:
    """Each measure's mean before and after, and the change with its 95 % interval."""
    report = json.loads((round_dir / "7_evaluation" / "report.json").read_text(encoding="utf-8"))
    found = {}
    for name in ("courteous", "brief", "correct", "helpful"):
        measure = report["measures"][name]
        change = [measure["change"][key] for key in ("mean", "low", "high")]
        found[name] = [measure["before"]["mean"], measure["after"]["mean"], *change]
    win = report["win_rate"]["hard"]
    return {**found, "win_rate": [win["mean"], win["low"], win["high"]]}


def main() -> None:
    round_dir = Path(sys.argv[1]) / "round_00"
    revisions = list(read_revisions(round_dir / "6_policy"))
    numbers = sorted({one.round for one in revisions})
    rounds = [summarise([one for one in revisions if one.round == number]) for number in numbers]
    result = {"simulated": True, "command": COMMAND, "seeds": 1, "rounds": rounds, **read_measures(round_dir)}
    write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    rises = all(later["score"] >= earlier["score"] for earlier, later in pairwise(rounds))
    sys.exit(0 if rises and all(one["gain"][1] > 0 for one in rounds) else 1)


if __name__ == "__main__":
    main()
