"""Library cases of `maskvd verify`: what agrees passes, what differs fails, what lacks is told."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.library_cases import ComparedPart, LibraryCase
from maskvd_cli.verify.library import TOLERANCE, library_cases, verify_library

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf (transformers)"
)
NAMES = ("lwdetr", "owlv2", "rfdetr", "yolos")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture
def no_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKVD_GOLDEN", raising=False)


def offered(monkeypatch: pytest.MonkeyPatch, **cases: LibraryCase) -> None:
    monkeypatch.setattr("maskvd_cli.verify.library.library_cases", lambda: cases)


def made(
    off: float = 0.0, *, at: torch.dtype = torch.float32, library: str = "torch", shape: int = 3
) -> LibraryCase:
    """A case whose scores are `off` in one precision."""

    def parts(dtype: torch.dtype) -> Iterator[ComparedPart]:
        theirs = torch.ones(2, 3, dtype=dtype)
        yield ComparedPart("features", theirs.clone(), theirs)
        moved = theirs[:, :shape] + (off if dtype == at else 0)
        yield ComparedPart("scores", moved, theirs)

    return LibraryCase(library, "hf", parts)


def test_families_that_other_libraries_have_give_a_case() -> None:
    assert tuple(library_cases()) == NAMES
    assert {case.library for case in library_cases().values()} == {"transformers"}


@needs_library
def test_every_family_agrees_with_the_library(no_golden: None) -> None:
    done = run("verify", "--library", "--json")
    assert done.exit_code == 0, done.output
    found = {row["case"]: row for row in json.loads(done.stdout)}
    assert tuple(found) == tuple(f"library/{name}" for name in NAMES)
    for row in found.values():
        assert row["passed"] and row["method"].startswith("dense, transformers 5.")
        assert row["deviation"].keys() == {"float32", "float64"}
        assert row["deviation"]["float32"] <= 1e-4 and row["deviation"]["float64"] <= 1e-9
    assert done.stderr.splitlines()[-1] == "4 of 4 cases passed"


@needs_library
@pytest.mark.parametrize("name", NAMES)
def test_all_depths_scores_and_boxes_are_compared_and_none_is_constant(name: str) -> None:
    with torch.inference_mode():
        parts = list(library_cases()[name].parts(torch.float64))
    *features, scores, boxes = [part.where for part in parts]
    assert (scores, boxes) == ("scores", "boxes")
    assert len(features) == (3 if name.endswith("detr") else 1)
    assert all(part.theirs.std() > 0.03 and part.ours is not part.theirs for part in parts)


def test_each_precision_has_its_tolerance() -> None:
    """A difference above the tolerance of its precision fails and is told, one below does not."""
    for dtype, most in TOLERANCE.items():
        assert verify_library("near", made(0.5 * most, at=dtype)).passed
        far = verify_library("far", made(2 * most, at=dtype))
        assert not far.passed
        assert far.problem == f"scores differ by {2 * most:.1e} in {str(dtype)[6:]}"
    assert not verify_library("nan", made(float("nan"))).passed
    assert not verify_library("shape", made(shape=2)).passed


def test_a_case_that_cannot_run_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, no_golden: None
) -> None:
    def refused(dtype: torch.dtype) -> Iterable[ComparedPart]:
        raise UsageError("torch 9 was not tested", remedy="install another")

    def broken(dtype: torch.dtype) -> Iterable[ComparedPart]:
        raise AttributeError("no such\nmodule")

    offered(
        monkeypatch, a=LibraryCase("torch", "hf", refused), b=LibraryCase("torch", "hf", broken),
        c=made(),
    )  # fmt: skip
    done = run("verify", "--library")
    assert done.exit_code == 3
    assert "library/a: torch 9 was not tested; install another" in done.stderr
    assert "library/b: AttributeError: no such module" in done.stderr
    assert "1 of 3 cases passed" in done.stderr


def test_a_library_that_is_not_installed_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, no_golden: None
) -> None:
    offered(monkeypatch, a=made(library="no_such_thing"), b=made(library="no_such_thing"))
    told = "skipped: a, b against no_such_thing, which is not installed; pip install 'maskvd[hf]'"
    for words in (("verify",), ("verify", "--library")):
        done = run(*words)
        assert done.exit_code == 2
        assert done.stderr.splitlines()[0] == told
    offered(monkeypatch, a=made(library="no_such_thing"), c=made())
    done = run("verify")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        told.replace("a, b", "a"),
        "no golden cases: name a folder, or set the environment variable MASKVD_GOLDEN",
        "1 of 1 cases passed",
    ]


def test_a_folder_alone_is_run_alone_and_both_where_both_are_asked(
    golden_root: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dense_A.npz", "weights_A.npz"):
        (tmp_path / name).write_bytes((golden_root / name).read_bytes())
    offered(monkeypatch, a=made())
    monkeypatch.setenv("MASKVD_GOLDEN", str(tmp_path))
    for words, cases in (
        ((tmp_path,), ["dense_A"]),
        (("--library",), ["library/a"]),
        ((tmp_path, "--library"), ["dense_A", "library/a"]),
        ((), ["dense_A", "library/a"]),
    ):
        done = run("verify", *words, "--json")
        assert done.exit_code == 0, done.output
        assert [row["case"] for row in json.loads(done.stdout)] == cases
