"""An HTML page read strictly into elements, for tests of what people see."""

from __future__ import annotations

from html.parser import HTMLParser

INLINE = {"b", "i", "span", "code"}
VOID = {"meta", "br", "hr", "link", "img", "input"}


class Node:
    """An element: its attributes, its children, and all the text in it."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.children: list[Node] = []
        self.words: list[str] = []

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    def find(self, tag: str = "", css: str = "") -> list[Node]:
        """This element and all below it with that tag and class."""
        found = [self] if tag in ("", self.tag) and (not css or css in self.classes) else []
        return found + [hit for child in self.children for hit in child.find(tag, css)]


class Page(HTMLParser):
    """Reads a page strictly: every element closed, every id once."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open: list[Node] = [self.root]
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        assert self.open == [self.root]

    @property
    def tags(self) -> list[str]:
        return [node.tag for node in self.root.find()]

    def section(self, name: str) -> Node:
        (found,) = [node for node in self.root.find("section") if node.attributes["id"] == name]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE:
            self.handle_data(" ")
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)
        if "id" in node.attributes:
            self.ids.append(node.attributes["id"])
        self.links += [
            node.attributes[name]
            for name in ("href", "src", "srcset", "action", "data", "xlink:href")
            if name in node.attributes
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.words.append(data)
