"""Preferences -> a folder in the ecosystem's schema: Parquet per split, and a dataset card.

`chosen` and `rejected` exist only here. The same preferences give the same bytes, in whatever order
they come. Decides nothing: every preference given is exported.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import StageError
from rlaif.preferences.card import SplitSize, render_dataset_card
from rlaif.records import Constitution, Preference, Prompt, Sample, Tally, digest_bytes, digest_text, split_of
from rlaif.rows import is_row_file
from rlaif.runs import replace_directory


class ExportedPreferences(NamedTuple):
    path: Path
    num_train: int
    num_test: int
    digest: str
    """sha256 over the names and bytes of the files of rows."""


def export_preferences(
    preferences: Sequence[Preference],
    *,
    prompts: Mapping[str, Prompt],
    samples: Mapping[str, Sample],
    judge_name: str | Mapping[str, str],
    constitution: Constitution,
    out_dir: Path,
    test_fraction: float,
    tally: Tally | None = None,
    notes: Sequence[str] = (),
) -> ExportedPreferences:
    """Write `out_dir`, replacing it as a whole; splits are drawn by prompt id.

    prompts, samples: by id. judge_name: the judge's name, or judge id -> name where several judged.
    notes: what the card says of people's labels, line by line.
    """
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for preference in sorted(preferences, key=lambda preference: preference.id):
        split = split_of(preference.prompt_id, test_fraction=test_fraction)
        rows[split].append(_make_row(preference, prompts=prompts, samples=samples, judge_name=judge_name))
    if not rows["train"]:
        raise StageError(
            f"there is no preference to train on: {len(rows['test'])} held out, 0 left for training",
            where=str(out_dir),
            fix="sample more prompts, or lower preferences.min_margin or prompts.test_fraction",
        )
    files = {split: _to_parquet(found) for split, found in rows.items() if found}
    # subtle: `datasets` caches a folder under its last name and the file names in its card, not under its
    # contents; without their digest two folders called "dataset" would load as the same data.
    names = {split: f"data/{split}-00000-of-00001-{digest_bytes(data)[:16]}.parquet" for split, data in files.items()}
    card = render_dataset_card(
        sizes=[
            SplitSize(
                split,
                file=name,
                num_rows=len(rows[split]),
                num_prompts=len({row["prompt_id"] for row in rows[split]}),
            )
            for split, name in names.items()
        ],
        judges=sorted({row["judge"] for found in rows.values() for row in found}),
        constitution=constitution,
        tally=tally,
        test_fraction=test_fraction,
        notes=notes,
    )
    with replace_directory(out_dir) as folder:
        (folder / "data").mkdir()
        for place, data in zip(names.values(), files.values(), strict=True):
            (folder / place).write_bytes(data)
        (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return ExportedPreferences(
        path=out_dir,
        num_train=len(rows["train"]),
        num_test=len(rows["test"]),
        digest=_digest({place: digest_bytes(data) for place, data in zip(names.values(), files.values(), strict=True)}),
    )


def digest_preferences(folder: Path) -> str:
    """The digest of a preference folder, an exported one or a user's, read from its files of rows."""
    files = [path for path in folder.rglob("*") if is_row_file(path)]
    return _digest({path.relative_to(folder).as_posix(): digest_bytes(path.read_bytes()) for path in files})


def _digest(digests: Mapping[str, str]) -> str:
    return digest_text("".join(f"{name} {digest}\n" for name, digest in sorted(digests.items())))


def _make_row(
    preference: Preference,
    *,
    prompts: Mapping[str, Prompt],
    samples: Mapping[str, Sample],
    judge_name: str | Mapping[str, str],
) -> dict[str, Any]:
    if preference.kind != "pair" or len(preference.sample_ids) != 2:
        raise StageError(
            f"preference {preference.id} is a {preference.kind}, and only pairs have chosen and rejected",
            fix="export the pairs alone",
        )
    first, second = (samples[sample_id] for sample_id in preference.sample_ids)
    # subtle: a tie (exactly one half) keeps the canonical order; its label says that neither was preferred.
    chosen, rejected, label = first, second, preference.label
    if label < 0.5:
        chosen, rejected, label = second, first, 1 - label
    name = judge_name if isinstance(judge_name, str) else judge_name.get(preference.judge_id or "", "")
    if preference.source == "human":
        name = ""
    return {
        "id": preference.id,
        "prompt": prompts[preference.prompt_id].as_chat(),
        "chosen": [{"role": "assistant", "content": chosen.text}],
        "rejected": [{"role": "assistant", "content": rejected.text}],
        "label": label,
        "score_margin": math.log(label / (1 - label)) if label < 1 else None,
        "weight": preference.weight,
        "source": preference.source,
        "judge": name,
        "constitution": preference.constitution_id or "",
        "round": preference.round,
        "prompt_id": preference.prompt_id,
        "chosen_id": chosen.id,
        "rejected_id": rejected.id,
    }


def _to_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chat = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    # subtle: no column may be called "margin": TRL's reward loss would subtract it.
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", chat),
            ("chosen", chat),
            ("rejected", chat),
            ("label", pa.float64()),
            ("score_margin", pa.float64()),
            ("weight", pa.float64()),
            ("source", pa.string()),
            ("judge", pa.string()),
            ("constitution", pa.string()),
            ("round", pa.int64()),
            ("prompt_id", pa.string()),
            ("chosen_id", pa.string()),
            ("rejected_id", pa.string()),
        ]
    )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    return sink.getvalue()
