"""Words and places -> pieces of inline SVG, each text escaped.

Every figure carries a title and a description for people who do not see it; colours are classes that the
page's style sheet fills, so that dark mode and print work. No scripts, no fonts, no ids used twice.
"""

from __future__ import annotations

from markupsafe import Markup

from rlaif.report.wording import show_plain


def svg_figure(body: Markup, *, name: str, title: str, desc: str, attributes: str) -> Markup:
    """A whole figure; `name` makes its ids."""
    title, desc = show_plain(title), show_plain(desc)
    return Markup(
        '<svg role="img" aria-labelledby="{0}-t {0}-d" {1}><title id="{0}-t">{2}</title>'
        '<desc id="{0}-d">{3}</desc>{4}</svg>'
    ).format(name, Markup(attributes), title, desc, body)


def svg_line(css: str, x1: str | float, y1: str | float, x2: str | float, y2: str | float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, x1, y1, x2, y2)


def svg_text(css: str, x: str | float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)
