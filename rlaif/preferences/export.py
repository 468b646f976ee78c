"""Preferences -> a folder in the ecosystem's schema: Parquet per split, and a dataset card.

`chosen` and `rejected` exist only in this folder. The same preferences give the same bytes, in whatever order they
come. Decides nothing: every preference given is exported.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.errors import StageError
from rlaif.files.atomic import replace_directory, write_atomically
from rlaif.files.row_parts import refuse_whole_disk
from rlaif.files.rows import is_row_file
from rlaif.preferences.card import RowKind, SplitSize, render_dataset_card
from rlaif.records import Constitution, Preference, Prompt, Sample, Tally, digest_bytes, digest_text, find_held_out

CARD = "README.md"
"""Name of the card, which stands beside the folder of rows."""


class _Part(NamedTuple):
    kind: RowKind
    split: str


_FOLDERS = {
    _Part("pairs", "train"): "data", _Part("pairs", "test"): "data",
    _Part("choices", "train"): "choices", _Part("choices", "test"): "choices",
}  # fmt: skip
"""Files of one schema are in one folder."""


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
    """Write `out_dir`, replacing it as a whole, and the card beside it; splits are drawn by prompt id.

    Nothing but Parquet files is in `out_dir`, so that any reader of Parquet folders takes it.

    prompts, samples: by id. judge_name: the judge's name, or judge id -> name where several judged.
    notes: lines for the card about people's labels.
    """
    held_out = find_held_out(prompts, test_fraction=test_fraction)
    rows: dict[_Part, list[dict[str, Any]]] = {part: [] for part in _FOLDERS}
    for preference in sorted(preferences, key=lambda preference: preference.id):
        split = "test" if preference.prompt_id in held_out else "train"
        is_choice = preference.kind == "choice"
        make = _make_choice if is_choice else _make_row
        made = make(preference, prompts=prompts, samples=samples, judge_name=judge_name)
        rows[_Part("choices" if is_choice else "pairs", split)].append(made)
    num = {split: sum(len(rows[part]) for part in rows if part.split == split) for split in ("train", "test")}
    if not num["train"]:
        raise StageError(
            f"there is no preference to train on: {num['test']} held out, 0 left for training",
            where=str(out_dir),
            fix="sample more prompts, or lower preferences.min_margin or prompts.test_fraction",
        )
    files = {part: _to_parquet(found, part.kind) for part, found in rows.items() if found}
    # subtle: `datasets` caches a folder under its last name and the file names in its card, not under its
    # contents; without their digest two folders called "dataset" would load as the same data.
    names = {
        part: f"{_FOLDERS[part]}/{part.split}-00000-of-00001-{digest_bytes(data)[:16]}.parquet"
        for part, data in files.items()
    }
    card = render_dataset_card(
        sizes=[
            SplitSize(
                part.split,
                kind=part.kind,
                file=f"{out_dir.name}/{name}",
                num_rows=len(rows[part]),
                num_prompts=len({row["prompt_id"] for row in rows[part]}),
            )
            for part, name in names.items()
        ],
        judges=sorted({row["judge"] for found in rows.values() for row in found}),
        constitution=constitution,
        tally=tally,
        test_fraction=test_fraction,
        notes=notes,
    )
    with replace_directory(out_dir) as folder:
        for part in names:
            (folder / _FOLDERS[part]).mkdir(exist_ok=True)
        for place, data in zip(names.values(), files.values(), strict=True):
            (folder / place).write_bytes(data)
    write_atomically(out_dir.parent / CARD, card.encode())
    return ExportedPreferences(
        path=out_dir,
        num_train=num["train"],
        num_test=num["test"],
        digest=_digest({place: digest_bytes(data) for place, data in zip(names.values(), files.values(), strict=True)}),
    )


def digest_preferences(folder: Path) -> str:
    """The digest of a preference folder, an exported one or a user's, read from its files of rows."""
    refuse_whole_disk(folder)
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
    return {
        "id": preference.id,
        "prompt": prompts[preference.prompt_id].as_chat(),
        "chosen": [{"role": "assistant", "content": chosen.text}],
        "rejected": [{"role": "assistant", "content": rejected.text}],
        "label": label,
        "score_margin": math.log(label / (1 - label)) if label < 1 else None,
        "weight": preference.weight,
        **_origin(preference, judge_name),
        "chosen_id": chosen.id,
        "rejected_id": rejected.id,
    }


def _make_choice(
    preference: Preference,
    *,
    prompts: Mapping[str, Prompt],
    samples: Mapping[str, Sample],
    judge_name: str | Mapping[str, str],
) -> dict[str, Any]:
    texts = [samples[sample_id].text for sample_id in preference.sample_ids]
    return {
        "id": preference.id,
        "prompt": prompts[preference.prompt_id].as_chat(),
        "responses": [[{"role": "assistant", "content": text}] for text in texts],
        "probabilities": list(preference.shares),
        "best": preference.shares.index(max(preference.shares)),
        "weight": preference.weight,
        **_origin(preference, judge_name),
        "sample_ids": list(preference.sample_ids),
    }


def _origin(preference: Preference, judge_name: str | Mapping[str, str]) -> dict[str, Any]:
    """Where a preference comes from: the columns that both schemas have."""
    name = judge_name if isinstance(judge_name, str) else judge_name.get(preference.judge_id or "", "")
    return {
        "source": preference.source,
        "judge": "" if preference.source == "human" else name,
        "constitution": preference.constitution_id or "",
        "round": preference.round,
        "prompt_id": preference.prompt_id,
    }


def _to_parquet(rows: Sequence[Mapping[str, Any]], kind: RowKind) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chat = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    origin = [("source", text), ("judge", text), ("constitution", text), ("round", whole), ("prompt_id", text)]
    # subtle: no column may be called "margin": TRL's reward loss would subtract it.
    if kind == "pairs":
        own = [("chosen", chat), ("rejected", chat), ("label", number), ("score_margin", number), ("weight", number)]
        last = [("chosen_id", text), ("rejected_id", text)]
    else:
        own = [("responses", pa.list_(chat)), ("probabilities", pa.list_(number)), ("best", whole), ("weight", number)]
        last = [("sample_ids", pa.list_(text))]
    schema = pa.schema([("id", text), ("prompt", chat), *own, *origin, *last])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
    return sink.getvalue()
