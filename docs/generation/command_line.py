"""The command line as Markdown, read from the functions behind the commands.

Signatures are read rather than the help that typer prints, whose form differs between versions.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from generation.regions import table
from maskvd_cli.app import app

_LONGEST_LINE = 72
_KINDS = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


@dataclass(frozen=True)
class Parameter:
    """An option or argument as a user writes it."""

    names: str
    value: str
    help: str
    facts: tuple[str, ...]
    is_option: bool


def commands(_: str = "") -> str:
    """Return one section for every command, in the order of `maskvd --help`."""
    return "\n\n".join(section(info.callback) for info in app.registered_commands if info.callback)


def section(callback: Callable[..., Any]) -> str:
    """Return a command's section: usage, text, arguments, options, examples."""
    name = callback.__name__.rstrip("_").replace("_", "-")
    parameters = parameters_of(callback)
    arguments = [one for one in parameters if not one.is_option]
    options = [one for one in parameters if one.is_option]
    text, examples = _described(inspect.getdoc(callback) or "")
    usage = " ".join(["maskvd", name, "[OPTIONS]", *(one.names for one in arguments)])
    parts = [f"## maskvd {name}", text[0], f"```text\n{usage}\n```", *text[1:]]
    if examples:
        parts.append("```bash\n" + "\n".join(map(_wrapped, examples)) + "\n```")
    for heading, some in (("argument", arguments), ("option", options)):
        if some:
            parts.append(table((heading, "meaning"), [_row(one) for one in some]))
    return "\n\n".join(parts)


def parameters_of(callback: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a command's function."""
    hints = get_type_hints(callback, include_extras=True)
    return [
        _parameter(name, hints[name], parameter.default)
        for name, parameter in inspect.signature(callback).parameters.items()
    ]


def _parameter(name: str, hint: object, default: object) -> Parameter:
    annotation, info = _unwrapped(hint)
    kind = _single(annotation)
    facts = _facts(annotation, info, default)
    text = " ".join((info.help or "").split())
    if isinstance(info, ArgumentInfo):
        shown = (info.metavar or name.rstrip("_").upper()).strip("[]")
        needed = default is inspect.Parameter.empty
        return Parameter(shown if needed else f"[{shown}]", "", text, facts, False)
    # Under Annotated, typer keeps the first of the names where a default would stand.
    named = (info.default, *(info.param_decls or ()))
    declared = [text for text in named if isinstance(text, str) and text.startswith("-")]
    negatable = kind is bool and not declared
    # A flag of its own for false is written into the same name, after a slash.
    declared = [text.replace("/", ", ") for text in declared]
    declared = declared or [f"--{name.rstrip('_').replace('_', '-')}"]
    names = ", ".join(sorted(declared, key=len))
    if negatable:
        names = f"{names}, --no-{declared[0][2:]}"
    value = "" if kind is bool else info.metavar or _KINDS.get(kind, "VALUE")
    return Parameter(names, value, text, facts, True)


def _unwrapped(hint: object) -> tuple[object, OptionInfo | ArgumentInfo]:
    assert get_origin(hint) is Annotated, f"{hint} is no typer parameter"
    annotation, *metadata = get_args(hint)
    info = next(one for one in metadata if isinstance(one, OptionInfo | ArgumentInfo))
    return annotation, info


def _single(annotation: object) -> Any:
    """Return the type of one value: that of a list's members, and without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation


def _facts(annotation: object, info: OptionInfo | ArgumentInfo, default: object) -> tuple[str, ...]:
    told: list[str] = []
    several = (annotation, *get_args(annotation))
    if any(get_origin(one) is list for one in several):
        told.append("may stand more than once")
    if info.min is not None or info.max is not None:
        low = "" if info.min is None else f"{info.min:g} ≤ "
        high = "" if info.max is None else f" ≤ {info.max:g}"
        told.append(f"{low}value{high}")
    if default is inspect.Parameter.empty:
        told.append("required")
    elif default is not None and default is not False:
        told.append(f"default `{'on' if default is True else default}`")
    return tuple(told)


def _row(one: Parameter) -> tuple[str, str]:
    shown = " ".join(part for part in (one.names, one.value) if part)
    facts = f" ({'; '.join(one.facts)})" if one.facts else ""
    return f"`{shown}`", f"{_escaped(one.help)}{facts}"


def _described(text: str) -> tuple[list[str], list[str]]:
    """Return the paragraphs of a docstring, and the commands of its examples."""
    paragraphs: list[str] = []
    examples: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.replace("\b", "").split())
        if re.match(r"Examples?:", flat):
            listed = re.split(r" · |(?<=\S) (?=maskvd )", flat.partition(":")[2].strip())
            examples += [one.strip(" ·") for one in listed if one.strip(" ·")]
        elif flat:
            before, found, command = flat.partition(": maskvd ")
            paragraphs.append(f"{_escaped(before)}:" if found else _escaped(flat))
            examples += [f"maskvd {command}"] if found else []
    return paragraphs, examples


def _wrapped(command: str) -> str:
    """Return a command with long lines broken before options, as a shell reads it."""
    lines = [""]
    for part in re.split(r" (?=-)", command):
        if lines[-1] and len(lines[-1]) + len(part) > _LONGEST_LINE:
            lines.append(f"    {part}")
        else:
            lines[-1] = f"{lines[-1]} {part}".lstrip() if len(lines) == 1 else f"{lines[-1]} {part}"
    return " \\\n".join(lines)


def _escaped(text: str) -> str:
    """Return text whose angle brackets, stars and underscores stay what they are."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<>*_\[\]])", r"\\\1", part) for part in parts
    )
