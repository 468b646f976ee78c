"""What a judge template may contain: an allow-list of Jinja2 nodes, and bare untrusted variables.

Takes the parsed template, raises TemplateError with file and line. A sandbox alone still lets a template
use up memory and time; without calls, arithmetic and filter arguments it has no means to do so.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, NoReturn

from jinja2 import nodes

from rlaif.errors import TemplateError
from rlaif.records.judgement import JudgeMode

RESPONSES = "responses"
"""The one variable that is a list: a loop over it shows each reply as a bare {{ name }}, and {{ name.label }}."""
UNTRUSTED = ("conversation", "first", "second", "response", RESPONSES)
TRUSTED = ("principle", "conversation_fence", "replies_fence")


class KindRules(NamedTuple):
    """What the templates of one kind have in common."""

    needed: tuple[str, ...]
    """The variables without which such a template asks nothing."""
    answers: Literal["verdicts", "scores", "labels"] | None
    """The key that lists what the judge may answer; None where it answers nothing."""
    does: str
    """What such a template does, for messages."""


KINDS: Mapping[JudgeMode, KindRules] = {
    "pair": KindRules(("first", "second", "principle"), "verdicts", "compares two replies"),
    "score": KindRules(("response", "principle"), "scores", "scores single replies"),
    "ranking": KindRules((RESPONSES, "principle"), "labels", "ranks several replies"),
    "contrast": KindRules(("principle",), None, "reads single replies under a principle and under its opposite"),
}
"""The kinds of templates, one for each judge mode."""
FILTERS = ("capitalize", "first", "last", "length", "lower", "string", "title", "trim", "upper", "wordcount")
TESTS = ("defined", "lower", "none", "string", "upper")
MAX_DEPTH = 12
LOOP_FIELDS = ("index", "index0", "first", "last", "length")

_PLAIN = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Filter,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Getattr,
)  # fmt: skip


class TemplateRules:
    """Checks one parsed body; `first_line` is the line of the file on which the body begins."""

    def __init__(self, where: str, *, first_line: int, declared: tuple[str, ...]) -> None:
        self._where = where
        self._first_line = first_line
        self._declared = declared
        self._shown: set[str] = set()

    def check(self, template: nodes.Template) -> None:
        for statement in template.body:
            if isinstance(statement, nodes.Output):
                self._check_output(statement)
            elif isinstance(statement, nodes.For) and self._is_list(statement.iter):
                self._check_list(statement)
            else:
                self._check_node(statement, depth=1, local=frozenset())
        for name in self._declared:
            if name not in self._shown:
                self.refuse(
                    f'the variable "{name}" is declared but never shown',
                    line=self._first_line,
                    fix=f"write {{{{ {name} }}}} where it belongs, or take it out of the front matter",
                )

    def _check_output(self, output: nodes.Output) -> None:
        """Check an output outside of blocks, the only place where an untrusted variable may be, and only alone."""
        for node in output.nodes:
            if isinstance(node, nodes.Name) and node.name in UNTRUSTED and node.name in self._declared:
                if self._is_list(node):
                    self._refuse_list(node)
                self._shown.add(node.name)
            else:
                self._check_node(node, depth=1, local=frozenset())

    def _is_list(self, node: nodes.Node) -> bool:
        return isinstance(node, nodes.Name) and node.name == RESPONSES and RESPONSES in self._declared

    def _check_list(self, loop: nodes.For) -> None:
        """Check {% for name in responses %}, outside of blocks; it may hold {{ name }}, {{ name.label }} and what is
        trusted."""
        self._check_for(loop, local=frozenset())
        if loop.test is not None or loop.else_:
            self._refuse_list(loop)
        assert isinstance(loop.target, nodes.Name)
        target, local, is_shown = loop.target.name, frozenset(("loop",)), False
        for statement in loop.body:
            for node in statement.nodes if isinstance(statement, nodes.Output) else [statement]:
                if isinstance(node, nodes.Name) and node.name == target:
                    is_shown = True
                elif not _is_label(node, target):
                    self._refuse_use_of(target, node)
                    self._check_node(node, depth=2, local=local)
        if is_shown:
            self._shown.add(RESPONSES)

    def _refuse_use_of(self, target: str, node: nodes.Node) -> None:
        for name in [node, *node.find_all(nodes.Name)]:
            if isinstance(name, nodes.Name) and name.name == target:
                self.refuse(
                    f'the untrusted variable "{target}" must stand alone',
                    line=self._line(name),
                    fix=f"write a bare {{{{ {target} }}}} or {{{{ {target}.label }}}} outside of filters and blocks",
                )

    def _refuse_list(self, node: nodes.Node) -> NoReturn:
        self.refuse(
            f'"{RESPONSES}" is a list',
            line=self._line(node),
            fix=f"write {{% for reply in {RESPONSES} %}}, and in it {{{{ reply.label }}}} and a bare {{{{ reply }}}}",
        )

    def _check_node(self, node: nodes.Node, *, depth: int, local: frozenset[str]) -> None:
        if not isinstance(node, _PLAIN):
            self._refuse_node(node)
        if depth > MAX_DEPTH:
            self.refuse(
                f"the template is nested deeper than {MAX_DEPTH} levels",
                line=self._line(node),
                fix="flatten it",
            )
        if isinstance(node, nodes.Name):
            self._check_name(node, local=local)
        elif isinstance(node, nodes.Getattr):
            self._check_getattr(node, local=local)
            return
        elif isinstance(node, nodes.Filter | nodes.Test):
            self._check_call(node)
        elif isinstance(node, nodes.For):
            local = self._check_for(node, local=local)
        for child in self._children(node):
            self._check_node(child, depth=depth + 1, local=local)

    @staticmethod
    def _children(node: nodes.Node) -> Iterator[nodes.Node]:
        # The target of a loop is where its variable is made, not where one is read.
        return node.iter_child_nodes(exclude=("target",) if isinstance(node, nodes.For) else None)

    def _check_name(self, node: nodes.Name, *, local: frozenset[str]) -> None:
        name = node.name
        if name in local:
            return
        if name in UNTRUSTED:
            if name in self._declared:
                self.refuse(
                    f'the untrusted variable "{name}" must stand alone',
                    line=self._line(node),
                    fix=f"write a bare {{{{ {name} }}}} outside of filters, conditions and loops",
                )
            self._refuse_undeclared(node, trust="untrusted")
        if name not in TRUSTED:
            close = difflib.get_close_matches(name, (*UNTRUSTED, *TRUSTED), n=1)
            meant = f'did you mean "{close[0]}"? ' if close else ""
            self.refuse(
                f'the template names an unknown variable "{name[:80]}"',
                line=self._line(node),
                fix=f"{meant}the variables are {', '.join((*UNTRUSTED, *TRUSTED))}",
            )
        if name not in self._declared:
            self._refuse_undeclared(node, trust="trusted")
        self._shown.add(name)

    def _refuse_undeclared(self, node: nodes.Name, *, trust: str) -> NoReturn:
        self.refuse(
            f'the variable "{node.name}" is not declared in the front matter',
            line=self._line(node),
            fix=f"add it to `{trust}:`",
        )

    def _check_getattr(self, node: nodes.Getattr, *, local: frozenset[str]) -> None:
        of_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop" and "loop" in local
        if not of_loop or node.attr not in LOOP_FIELDS:
            self.refuse(
                f'the attribute ".{node.attr[:80]}" is not allowed',
                line=self._line(node),
                fix=f"only loop.{', loop.'.join(LOOP_FIELDS)} exist",
            )

    def _check_call(self, node: nodes.Filter | nodes.Test) -> None:
        kind, allowed = ("filter", FILTERS) if isinstance(node, nodes.Filter) else ("test", TESTS)
        if node.name not in allowed:
            self.refuse(
                f'the {kind} "{node.name[:80]}" is not allowed',
                line=self._line(node),
                fix=f"the {kind}s are {', '.join(allowed)}",
            )
        if node.args or node.kwargs or node.dyn_args or node.dyn_kwargs or getattr(node, "node", None) is None:
            self.refuse(
                f'the {kind} "{node.name}" takes no arguments here',
                line=self._line(node),
                fix="remove what stands in its parentheses",
            )

    def _check_for(self, node: nodes.For, *, local: frozenset[str]) -> frozenset[str]:
        plain = isinstance(node.iter, nodes.Name) and isinstance(node.target, nodes.Name)
        if not plain or node.recursive or local:
            self.refuse(
                "a loop must run over one plain variable and must not stand in another loop",
                line=self._line(node),
                fix="write {% for name in principle %}",
            )
        assert isinstance(node.target, nodes.Name)
        if node.target.name in (*UNTRUSTED, *TRUSTED):
            self.refuse(
                f'a loop may not reuse the name "{node.target.name}"',
                line=self._line(node),
                fix="choose another name",
            )
        return frozenset((node.target.name, "loop"))

    def _refuse_node(self, node: nodes.Node) -> NoReturn:
        self.refuse(
            f"{type(node).__name__} is not allowed in a judge template",
            line=self._line(node),
            fix="use text, {{ variable }}, {% if %} and {% for %} only",
        )

    def _line(self, node: nodes.Node) -> int:
        return self._first_line + max(node.lineno or 1, 1) - 1

    def refuse(self, what: str, *, line: int, fix: str) -> NoReturn:
        raise TemplateError(what, where=f"{self._where}:{line}", fix=fix)


def _is_label(node: nodes.Node, target: str) -> bool:
    return (
        isinstance(node, nodes.Getattr)
        and node.attr == "label"
        and isinstance(node.node, nodes.Name)
        and node.node.name == target
    )
