from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.registry import Registry

GROUP = "maskvd.things"
BUILT_IN = {"plain": "builtins:dict", "ordered": "collections:OrderedDict"}


def things(**more: str) -> Registry[dict[str, int]]:
    return Registry("thing", dict, GROUP, BUILT_IN | more)


def install(monkeypatch: pytest.MonkeyPatch, *plugins: tuple[str, str]) -> None:
    """Let these plug-ins be the installed ones of the group; no others exist."""
    found = [EntryPoint(name, value, GROUP) for name, value in plugins]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [plugin for plugin in found if plugin.group == group]

    monkeypatch.setattr("maskvd_cli.core.registry.entry_points", entry_points)


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def message(registry: Registry[dict[str, int]], name: str) -> str:
    with pytest.raises(MaskvdError) as caught:
        registry.load(name)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_names_are_sorted_and_load_their_classes() -> None:
    assert things().names() == ["ordered", "plain"]
    assert things().load("ordered") is OrderedDict


def test_names_are_known_without_importing() -> None:
    assert "absent" in things(absent="no_such_module:Thing").names()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plane", "unknown thing 'plane' (did you mean 'plain'?); there are: ordered, plain"),
        ("zzz", "unknown thing 'zzz'; there are: ordered, plain"),
    ],
)
def test_unknown_names(name: str, expected: str) -> None:
    assert message(things(), name) == expected


def test_a_name_is_taken_once() -> None:
    registry = things()
    registry.register("counter", "collections:Counter")
    assert "counter" in registry.names()
    with pytest.raises(MaskvdError) as caught:
        registry.register("counter", "elsewhere:Counter")
    assert str(caught.value) == (
        "thing 'counter' is registered twice: collections:Counter and elsewhere:Counter; "
        "rename or uninstall one of them"
    )
    assert registry.load("counter").__name__ == "Counter"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("collections:NoSuchThing", "has no attribute 'NoSuchThing'"),
        ("collections", "has no attribute ''"),
    ],
)
def test_targets_that_cannot_be_imported(target: str, reason: str) -> None:
    text = message(things(broken=target), "broken")
    assert text.startswith(f"thing 'broken' cannot be imported from {target}: ")
    assert reason in text
    assert text.endswith("; mend or uninstall the package that provides it")


@pytest.mark.parametrize("target", ["builtins:list", "builtins:len", "math:pi"])
def test_targets_of_another_kind(target: str) -> None:
    assert message(things(wrong=target), "wrong").startswith(f"thing 'wrong': {target} is no dict")


def test_installed_packages_add_names(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ("counter", "collections:Counter"), ("absent", "no_such_module:Thing"))
    registry = things()
    assert registry.names() == ["absent", "counter", "ordered", "plain"]
    assert registry.load("counter").__name__ == "Counter"
    assert registry.load("plain") is dict
    assert "cannot be imported from no_such_module:Thing" in message(registry, "absent")


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ([("plain", "mine:Dict")], "builtins:dict and mine:Dict"),
        ([("new", "one:New"), ("new", "two:New")], "one:New and two:New"),
    ],
)
def test_two_packages_with_one_name(
    plugins: list[tuple[str, str]], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *plugins)
    registry = things()
    for _ in range(2):
        with pytest.raises(MaskvdError, match=f"is registered twice: {expected}; rename or"):
            registry.names()


BROKEN = {
    "syntax": ("def broken(:\n", "SyntaxError: invalid syntax"),
    "raises": ("raise RuntimeError('two\\nlines')\n", "RuntimeError: two lines"),
    "exits": ("import sys\nsys.exit('no licence')\n", "SystemExit: no licence"),
    "lacks": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "silent": ("raise ValueError\n", "ValueError: no reason given"),
}


class Installed(EntryPoint):
    """An entry point whose distribution is known."""

    dist = SimpleNamespace(name="broken-package", version="1.2")  # pyright: ignore[reportAssignmentType]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Install a plug-in for each of `BROKEN` and one that works; the lines that are told of them.

    Modules that were imported are forgotten again.
    """
    for name, (text, _) in BROKEN.items():
        (tmp_path / f"broken_{name}.py").write_text(text)
    plugins = [Installed(name, f"broken_{name}:Thing", GROUP) for name in BROKEN]
    plugins.append(Installed("counter", "collections:Counter", GROUP))
    monkeypatch.setattr("maskvd_cli.core.registry.entry_points", lambda group: plugins)
    monkeypatch.syspath_prepend(tmp_path)
    told: list[str] = []
    monkeypatch.setattr(Registry, "on_broken", lambda error: told.append(str(error)))
    yield told
    for name in BROKEN:
        sys.modules.pop(f"broken_{name}", None)


@pytest.mark.parametrize("name", BROKEN)
def test_a_plug_in_that_cannot_be_imported_says_whose_it_is(name: str, broken: list[str]) -> None:
    registry = things()
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            registry.load(name)
        text = str(caught.value)
        assert text.startswith(
            f"thing '{name}' cannot be imported from broken_{name}:Thing (broken-package 1.2, "
            f"entry point {name} of {GROUP}): {BROKEN[name][1]}"
        )
        assert text.endswith("; mend or uninstall broken-package")
        assert "\n" not in text
        assert registry.why_broken(name) == text
    assert broken == []


def test_a_broken_plug_in_costs_only_itself(broken: list[str]) -> None:
    registry = things()
    for _ in range(2):
        assert [kind.__name__ for kind in registry.working()] == ["Counter", "OrderedDict", "dict"]
    assert [line.split("'")[1] for line in broken] == sorted(BROKEN)
    assert registry.why_broken("plain") is None
    assert registry.why_broken("absent") is None


def test_a_module_is_tried_once(broken: list[str], tmp_path: Path) -> None:
    registry = things()
    assert registry.why_broken("raises")
    (tmp_path / "broken_raises.py").write_text("raise RuntimeError('another')\n")
    assert "two lines" in str(registry.why_broken("raises"))


def test_a_bug_of_this_package_is_none_of_a_plug_in(broken: list[str]) -> None:
    with pytest.raises(RuntimeError, match="two"):
        things(own="broken_raises:Thing").load("own")


def test_classes_that_lack_something_are_refused() -> None:
    registry: Registry[Collection[int]] = Registry(
        "thing", Collection, GROUP, {"half": "collections.abc:MutableSet"}
    )
    with pytest.raises(MaskvdError) as caught:
        registry.load("half")
    assert str(caught.value) == (
        "thing 'half': collections.abc:MutableSet lacks __contains__, __iter__, __len__, add, "
        "discard; add what is missing"
    )
