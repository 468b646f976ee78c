"""Gates between the stages of a round: what they said is kept in the round's gates.json; a closed one stops the run.

Only gates that the configuration sets leave a trace. Measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from rlaif.console import say
from rlaif.errors import GateClosed
from rlaif.files.atomic import write_atomically
from rlaif.files.own_files import read_own
from rlaif.records.gate import GateResult
from rlaif.run.round import Round
from rlaif.run.stages import SFT

NAME = "gates.json"
_GATES = TypeAdapter(list[GateResult])
FIX = "look at the figure, or continue all the same: change the gate, --resume"


def pass_gate(round: Round, result: GateResult) -> None:
    """Note what a gate said; where it is closed, raise `GateClosed` with its sentence."""
    path = _path(round)
    others = [one for one in read_gates(round) if (one.name, one.stage) != (result.name, result.stage)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps([one.model_dump() for one in (*others, result)], indent=1) + "\n")
    if result.is_closed:
        raise GateClosed(result.sentence, where=result.name, fix=FIX)
    say(f"{result.name}: passed, {result.sentence}")


def read_gates(round: Round) -> list[GateResult]:
    """What the round's gates between stages said, in their order."""
    path = _path(round)
    if not path.is_file():
        return []
    return read_own(path, _GATES.validate_json, fix="remove the file: --resume looks at the gates again")


def _path(round: Round) -> Path:
    return round.find_folder(SFT).parent / NAME
