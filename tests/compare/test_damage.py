"""Damaged results: told, never a traceback, and never other numbers in silence."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.compare.changes import Compared, Verdict, exact_change
from maskvd_cli.store.sealed import sealed_text

from . import compared_runs as made

# In the suite; `MASKVD_FUZZ=300` looks longer, and `MASKVD_FUZZ_SEED=1` elsewhere.
ROUNDS = int(os.environ.get("MASKVD_FUZZ", "25"))
SEED = os.environ.get("MASKVD_FUZZ_SEED", "")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1e308, -1e308, 1e-320, 10**30, "", "x", "../../PWNED", [], [1], {},
    {"a": 1}, [[[[1]]]], "\x1b[2J", 0.5,
)  # fmt: skip
COMMANDS = (
    ["report", "{}", "--json"],
    ["score", "{}", "--json"],
    ["compare", "{}", "{old}", "--json"],
)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few clips: what is tested is damage, not statistics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "CLIPS", 2)
        patch.setattr(made, "FRAMES", 2)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small measured run; `old` beside it is another one."""
    root = tmp_path_factory.mktemp("damage")
    made.write_measured(root / "old", made.Spec(seed=1))
    made.write_measured(root / "whole", made.Spec(seed=2))
    return root / "whole"


def outputs(run: Path, old: Path) -> Iterator[tuple[str, int, str, str]]:
    """Yield of every reading command its name, exit code, stdout and stderr."""
    for command in COMMANDS:
        words = [word.format(run, old=old) if "{" in word else word for word in command]
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            words[0], done.exception,
        )  # fmt: skip
        yield words[0], done.exit_code, done.stdout, done.stderr


def flip(content: bytes, drawn: random.Random) -> bytes:
    at = drawn.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << drawn.randrange(8))]) + content[at + 1 :]


def cut(content: bytes, drawn: random.Random) -> bytes:
    return content[: drawn.randrange(len(content))]


def changed(data: Any, drawn: random.Random) -> None:
    """Delete or replace one value, at any depth."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any, depth: int) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            places.append((node, key))
            if isinstance(value, (dict, list)) and value and depth < 8:
                walk(value, depth + 1)

    walk(data, 0)
    node, key = drawn.choice(places)
    if drawn.random() < 0.3:
        del node[key]
    else:
        node[key] = drawn.choice(VALUES)


def resealed(content: bytes, drawn: random.Random, name: str) -> bytes:
    """Change a value and seal it again, as a hostile or an older file would have it."""
    data = json.loads(gzip.decompress(content) if name.endswith(".gz") else content)
    changed(data, drawn)
    if drawn.random() < 0.5:
        data.pop("sha256", None)
        data["schema"] = 4
        text = json.dumps(data).encode()
    else:
        text = sealed_text(data)
    return gzip.compress(text) if name.endswith(".gz") else text


def is_json(path: Path) -> bool:
    return path.name.endswith((".json", ".json.gz"))


def test_a_whole_run_is_read_by_all(whole: Path) -> None:
    for name, code, _, stderr in outputs(whole, whole.parent / "old"):
        assert (name, code) == (name, 0), stderr


@pytest.mark.parametrize("kind", ["flip", "cut"])
def test_random_damage_is_told_and_changes_no_number(
    kind: str, whole: Path, tmp_path: Path
) -> None:
    old = whole.parent / "old"
    before = {name: stdout for name, _, stdout, _ in outputs(whole, old)}
    drawn, damage = random.Random(f"{kind}{SEED}"), {"flip": flip, "cut": cut}[kind]
    damaged_by(damage, whole, tmp_path, drawn, before, ROUNDS)


def damaged_by(
    damage: Callable[[bytes, random.Random], bytes],
    whole: Path,
    tmp_path: Path,
    drawn: random.Random,
    before: dict[str, str],
    rounds: int,
) -> None:
    """Damage one file after the other; what is printed is as before, or something is told."""
    run = tmp_path / "whole"
    shutil.copytree(whole, run)
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name != "recipe.yaml")
    for _ in range(rounds):
        path = drawn.choice(files)
        content = path.read_bytes()
        path.write_bytes(damage(content, drawn))
        for name, code, stdout, stderr in outputs(run, whole.parent / "old"):
            told = code in (2, 3) or "warning" in stderr
            assert told or stdout == before[name], (path, name, code)
        path.write_bytes(content)


def test_wrong_values_are_damage_or_are_read(whole: Path, tmp_path: Path) -> None:
    """Sealed anew, whatever the types, sizes and missing keys: never a traceback."""
    run, drawn = tmp_path / "whole", random.Random(SEED or 0)
    shutil.copytree(whole, run)
    files = sorted(p for p in run.rglob("*") if p.is_file() and is_json(p))
    for _ in range(2 * ROUNDS):
        path = drawn.choice(files)
        content = path.read_bytes()
        path.write_bytes(resealed(content, drawn, path.name))
        for name, code, _, stderr in outputs(run, whole.parent / "old"):
            assert code in (0, 2, 3), (path, name, code)
            assert "\x1b" not in stderr
        path.write_bytes(content)
    assert not list(tmp_path.parent.rglob("PWNED*"))


@pytest.mark.parametrize(("old", "new"), [(1e-320, 5.0), (0.0, 5.0), (1e-310, 1e18)])
def test_a_ratio_that_is_no_number_is_none(old: float, new: float) -> None:
    change = exact_change(Compared("state_mb", "state MB", 1), old, new)
    assert change.ratio is None
    assert change.verdict is Verdict.REGRESSION
    assert exact_change(change.metric, 0.0, 0.0).ratio == 1.0
    assert exact_change(change.metric, 4.0, 5.0).ratio == 1.25
