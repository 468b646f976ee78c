"""A judge template that ranks, for the front desk's judge."""

from pathlib import Path

from rlaif.constitution.render import load_template


def write_ranking(path: Path) -> str:
    """A template that ranks, with a marker and labels that are tokens of the front desk's judge."""
    source = load_template("rank").source.replace("Best:", "Verdict:")
    path.write_text(source.replace('" A", " B", " C", " D", " E", " F", " G", " H"', '" A", " B"'))
    return str(path)
