"""Digests of what a run leaves: the ledger's records, the data set, the weights, and this machine's arithmetic.

Reads by SQL, Parquet and file names alone, so that a renamed module changes no digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path


def digest(value: object) -> str:
    """16 digits that a value's canonical JSON decides; floats by their shortest exact form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


CARDS = ("reward_models", "policies", "evaluations")
"""Records that repeat the configuration: their ids change with every new option, the rest of their content does not."""


def digest_ledger(path: Path) -> dict[str, str]:
    """Digests of what every stage used, table by table, and of every table as a whole.

    Comparisons and preferences have two more: `bits` for their floats alone, `without_bits` for the rest of them.
    """
    import apsw

    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    tables = connection.execute(
        "SELECT t.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"
        " AND c.name IN ('id', 'content') GROUP BY t.name HAVING count(*) = 2"
    ).fetchall()
    records = {
        table: {row[0]: json.loads(row[1]) for row in connection.execute(f"SELECT id, content FROM {table}")}
        for (table,) in tables
    }
    used: dict[str, list[str]] = {}
    for use in records.pop("uses").values():
        place = f"round_{use['round']:02}/{use['stage']}/{use['record_table']}"
        used.setdefault(place, []).append(use["record_id"])
    places = used | {table: list(rows) for table, rows in records.items() if rows}
    found = {}
    for place, ids in sorted(places.items()):
        table = place.rpartition("/")[2]
        contents = [records[table][id_] for id_ in ids]
        if table in CARDS:
            found[place] = _digest_all({key: part for key, part in row.items() if key != "config"} for row in contents)
        else:
            found[place] = _digest_all(ids)
        if table in ("comparisons", "preferences"):
            found[f"{place} bits"] = _digest_all(_floats(row) for row in contents)
            found[f"{place} without_bits"] = _digest_all(_without_floats(row) for row in contents)
    return found


def _digest_all(values: Iterable[object]) -> str:
    """Digest of values in whatever order they come."""
    return digest(sorted(json.dumps(value, sort_keys=True) for value in values))


def _floats(value: object) -> list[float]:
    """All floats in a JSON value, in its own order."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, float) else [number for part in parts for number in _floats(part)]


def _without_floats(value: object) -> object:
    """The value without floats and without the ids of comparisons, which their floats decide."""
    if isinstance(value, dict):
        return {key: _without_floats(part) for key, part in value.items() if key != "evidence_ids"}
    if isinstance(value, list):
        return [_without_floats(part) for part in value]
    return None if isinstance(value, float) else value


def digest_folder(run_dir: Path) -> dict[str, str]:
    """Digests of the data sets' rows without numbers and ids, of the bytes of data sets and weights, of file names."""
    import pyarrow.parquet as pq

    tables = sorted(run_dir.glob("round_*/4_preferences/dataset/**/*.parquet"))
    rows = [row for path in tables for row in pq.read_table(path).to_pylist()]
    found = {
        "rows": _digest_all(_without_floats({**row, "id": None}) for row in rows),
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
    """This machine's arithmetic: both shipped models on a fixed text, three steps of training, and a least-squares fit.

    Where it differs from the stored one, so may every run, and the bytes of runs say nothing about the code. The steps
    are on rows of unlike length: two kinds of processor can agree in every output and differ in a step.
    """
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    import rlaif

    parts = [torch.__version__]
    lengths = torch.tensor([24, 17, 9, 5])
    mask = (torch.arange(24)[None] < lengths[:, None]).long()
    for part in ("policy", "judge"):
        model = AutoModelForCausalLM.from_pretrained(Path(rlaif.__file__).parent / "frontdesk" / part, dtype="float32")
        ids = torch.arange(3, 99).remainder(90).view(4, 24)
        logits = model.eval()(input_ids=ids).logits
        logits.log_softmax(-1).gather(-1, ids[..., None]).mean().backward()
        tensors = [logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
        parts += [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in tensors]
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            ends = model(input_ids=ids, attention_mask=mask).logits[torch.arange(4), lengths - 1, 5]
            torch.nn.functional.softplus(ends[1::2] - ends[::2]).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        parts += [hashlib.sha256(p.detach().numpy().tobytes()).hexdigest() for p in model.parameters()]
    table = np.sin(np.arange(60.0)).reshape(20, 3)
    parts.append(np.linalg.lstsq(table, np.cos(np.arange(20.0)))[0].tobytes().hex())
    return digest(parts)
