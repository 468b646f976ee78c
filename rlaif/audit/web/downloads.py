"""What a page gives as a file: its formats, how much it may hold, and how a browser is told to keep it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import HTMLResponse, Response

from rlaif.audit.decision_page import DecisionPage, render_page
from rlaif.audit.decision_rows import Rows
from rlaif.audit.export import Format, export_rows
from rlaif.errors import InputError
from rlaif.files.atomic import utc_now

FORMATS: dict[Format, tuple[str, str]] = {
    "csv": ("csv", "text/csv"),
    "jsonl": ("jsonl", "application/x-ndjson"),
    "annotated-pairs": ("json", "application/json"),
    "parquet": ("parquet", "application/octet-stream"),
}
"""Format -> the ending of its files, and what a browser is told."""
MAX_EXPORTED = 50_000
"""Comparisons of one file; `rlaif audit export` has no bound."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
"""A report brings its style within itself, and no script."""


def read_format(query: Mapping[str, str]) -> Format:
    """The format that an address names, refused where there is no such one."""
    format = next((known for known in FORMATS if known == query.get("format")), None)
    if format is None:
        raise InputError("a file has one of these formats", fix=", ".join(FORMATS))
    return format


def refuse_many(number: int) -> None:
    """Refuse more comparisons than a file of the app holds."""
    if number > MAX_EXPORTED:
        raise InputError(
            f"{number} comparisons are too many for one answer",
            fix="choose a run or a principle, or use `rlaif audit export`",
        )


def answer_rows(rows: Rows, format: Format) -> Response:
    """Comparisons as a file."""
    exported = export_rows(rows, format=format, at=utc_now())
    ending, kind = FORMATS[format]
    return Response(exported.data, media_type=kind, headers=attach(f"comparisons.{ending}"))


def answer_page(made: DecisionPage, *, name: str) -> Response:
    """Decisions as one page to be kept or sent."""
    headers = {"content-security-policy": REPORT_POLICY, **attach(name)}
    return HTMLResponse(render_page(made).encode("utf-8", "backslashreplace"), headers=headers)


def attach(name: str) -> dict[str, str]:
    """Headers of a file that a browser stores under this name and does not open."""
    safe = "".join(
        character for character in name if character.isascii() and (character.isalnum() or character in "-.")
    )
    return {"content-disposition": f'attachment; filename="{safe}"'}
