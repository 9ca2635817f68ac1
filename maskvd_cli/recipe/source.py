"""Safe YAML with the place of every key: YAML 1.2 scalars; no aliases, tags, repeated keys."""

# PyYAML's annotations leave its event queue untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from maskvd_cli.core.errors import RecipeError

KeyPath = tuple[str | int, ...]

_MOST_BYTES = 1 << 20
_DEEPEST = 32
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip


@dataclass
class Document:
    """Plain data of a YAML text and where each key or list item stands (`file:line:column`)."""

    name: str
    data: Any
    places: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])

    def place(self, path: KeyPath) -> str:
        """Return the place of `path`, or of the nearest key around it where it is absent."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.name

    def problem(self, path: KeyPath, message: str) -> str:
        """Return one line that names the place, the key and what is wrong with it."""
        dotted = ".".join(str(part) for part in path)
        return f"{self.place(path)} {dotted}: {message}" if dotted else f"{self.name}: {message}"


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses aliases, tags and deep nesting while the text is being read."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = cast(yaml.Event, self.peek_event())
        if isinstance(event, yaml.AliasEvent):
            raise _complaint("aliases (*name) are not allowed; write the value out", event)
        if (tag := cast(str | None, getattr(event, "tag", None))) is not None:
            raise _complaint(f"tag {tag} is not allowed", event)
        if self.depth >= _DEEPEST:
            raise _complaint(f"nested deeper than {_DEEPEST} levels", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _complaint(message: str, part: yaml.Event | yaml.Node) -> yaml.MarkedYAMLError:
    mark = cast(yaml.Mark | None, part.start_mark)
    return yaml.MarkedYAMLError(problem=message, problem_mark=mark)


def read_file(path: Path) -> tuple[bytes, Document]:
    """Read a recipe file; return its exact bytes and its document.

    Raises RecipeError where the file is absent, too large, no UTF-8 or no safe YAML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise RecipeError([f"{path}: cannot be read ({error.strerror}); check the path"]) from error
    if len(raw) > _MOST_BYTES:
        raise RecipeError([f"{path}: larger than 1 MiB; this is no recipe"])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError([f"{path}: no UTF-8 text (byte {error.start})"]) from error
    return raw, parse(text, str(path))


def parse(text: str, name: str) -> Document:
    """Turn YAML text into plain data with the place of every key.

    Scalars follow YAML 1.2: `no` is a string, `1e-3` a number, `010` is ten. Raises RecipeError.
    """
    document = Document(name, None, {(): f"{name}:1:1"})
    try:
        node = _Loader(text).get_single_node()
        if node is not None:
            document.data = _build(node, (), document)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise RecipeError([f"{place}: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise RecipeError([f"{name}: no YAML ({' '.join(str(error).split())})"]) from error
    return document


def _build(node: yaml.Node, path: KeyPath, document: Document) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        items: list[Any] = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            document.places[here] = _place(document, item)
            items.append(_build(item, here, document))
        return items
    assert isinstance(node, yaml.MappingNode)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None or key == "<<":
            raise _complaint("keys must be plain words", key_node)
        if key in mapping:
            raise _complaint(f"key '{key}' stands here for the second time", key_node)
        here = (*path, key)
        document.places[here] = _place(document, key_node)
        mapping[key] = _build(value_node, here, document)
    return mapping


def _place(document: Document, node: yaml.Node) -> str:
    return f"{document.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    if any("\ud800" <= mark <= "\udfff" for mark in text):
        raise _complaint("half a character (a lone surrogate); write the character itself", node)
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 20:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
