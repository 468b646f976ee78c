"""Digests of what a run leaves: the ledger's records, the data set, the weights, and this machine's arithmetic.

Reads by SQL, Parquet and file names alone, so that a renamed module changes no digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any


def digest(value: object) -> str:
    """16 digits that a value's canonical JSON decides; floats by their shortest exact form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


CARDS = ("reward_models", "policies", "evaluations")
"""Records that repeat the configuration: their ids change with every new option, the rest of them does not."""


def digest_ledger(path: Path) -> dict[str, str]:
    """Digests of each table's ids or cards, of the bits of all labels, and of the comparisons without their numbers."""
    import apsw

    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def contents(table: str) -> list[dict[str, Any]]:
        return [json.loads(row[0]) for row in connection.execute(f"SELECT content FROM {table} ORDER BY id")]

    found: dict[str, str] = {}
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in sorted({*tables} - {"uses", "listing", "listing_groups", *CARDS}):
        if "id" in (columns := [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]):
            assert "content" in columns, table
            ids = [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]
            if ids:
                found[table] = digest(ids)
    for table in CARDS:
        if rows := contents(table):
            found[table] = digest([{k: v for k, v in row.items() if k != "config"} for row in rows])
    found["uses"] = digest(
        sorted(
            [
                *(use[key] for key in ("run", "round", "stage", "record_table")),
                "" if use["record_table"] in CARDS else use["record_id"],
            ]
            for use in contents("uses")
        )
    )
    comparisons, preferences = contents("comparisons"), contents("preferences")
    found["labels"] = digest(sorted(_floats(row) for row in preferences))
    found["label_logits"] = digest(sorted(_floats(row) for row in comparisons))
    found["verdicts"] = digest(sorted(json.dumps(_without_floats(row), sort_keys=True) for row in comparisons))
    return found


def _floats(value: object) -> list[float]:
    """All floats in a JSON value, in its own order."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, float) else [number for part in parts for number in _floats(part)]


def _without_floats(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_floats(part) for part in value]
    return None if isinstance(value, float) else value


def digest_folder(run_dir: Path) -> dict[str, str]:
    """Digests of the data sets' rows without numbers and ids, of the bytes of data sets and weights, of file names."""
    import pyarrow.parquet as pq

    tables = sorted(run_dir.glob("round_*/4_preferences/dataset/**/*.parquet"))
    rows = [row for path in tables for row in pq.read_table(path).to_pylist()]
    found = {
        "rows": digest([_without_floats({**row, "id": None}) for row in rows]),
        "dataset": digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in tables]),
        "files": digest(sorted(_name(path, run_dir) for path in run_dir.rglob("*") if path.is_file())),
    }
    for path in sorted(run_dir.glob("round_*/*/**/*.safetensors")):
        found[_name(path, run_dir)] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def _name(path: Path, run_dir: Path) -> str:
    """The path in the run folder, without the digest that a data set's file names end with."""
    return re.sub(r"-[0-9a-f]{16}\.", ".", path.relative_to(run_dir).as_posix())


def digest_arithmetic() -> str:
    """This machine's arithmetic: outputs and gradients of both shipped models on a fixed text, and a least-squares fit.

    Where it differs from the stored one, so may every run, and the bytes of runs say nothing about the code.
    """
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    import rlaif

    parts = [torch.__version__]
    for part in ("policy", "judge"):
        model = AutoModelForCausalLM.from_pretrained(Path(rlaif.__file__).parent / "frontdesk" / part, dtype="float32")
        ids = torch.arange(3, 99).remainder(90).view(4, 24)
        logits = model.eval()(input_ids=ids).logits
        logits.log_softmax(-1).gather(-1, ids[..., None]).mean().backward()
        tensors = [logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
        parts += [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in tensors]
    table = np.sin(np.arange(60.0)).reshape(20, 3)
    parts.append(np.linalg.lstsq(table, np.cos(np.arange(20.0)))[0].tobytes().hex())
    return digest(parts)
