"""Only regular files of allowed size are opened; nothing ever waits."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.illustration import read_heatmap, read_illustration
from maskvd_cli.store.reading import is_regular, read_regular
from maskvd_cli.store.runs import find_run

from .test_runs import KEY, begun, record


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert is_regular(path)
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 0 MiB"):
        read_regular(path, 4)


def test_pipes_devices_folders_and_links_are_refused(tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_bytes(b"1")
    link.symlink_to(file)
    for path in (pipe, link, tmp_path, Path("/dev/null"), tmp_path / "absent", Path("a\0b")):
        assert not is_regular(path)
        with pytest.raises((ValueError, OSError)):
            read_regular(path, 10)
    with pytest.raises(ValueError, match="is a link, no regular file"):
        read_regular(link, 10)
    assert read_regular(link, 10, follow=True) == b"1"
    with pytest.raises(ValueError, match="is no regular file"):
        read_regular(pipe, 10, follow=True)
    with pytest.raises(ValueError, match="is no regular file"):
        read_regular(tmp_path, 10)


def test_a_file_is_refused_by_the_size_that_it_states(tmp_path: Path) -> None:
    """Not one byte of it is read: no memory holds as many as are allowed here."""
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 1 << 42)
    with pytest.raises(ValueError, match="larger than 2048 GiB"):
        read_regular(sparse, 1 << 41)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="there is no /proc here")
def test_a_file_that_holds_more_than_it_states_is_refused() -> None:
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    with pytest.raises(ValueError, match="larger than 0 MiB"):
        read_regular(status, 4)


@pytest.mark.parametrize("name", ["plan.json", "environment.json"])
def test_a_pipe_in_place_of_a_plan(name: str, tmp_path: Path) -> None:
    run = begun(tmp_path / "small" / "20250101T000000Z-aaaaaa", KEY)
    (run.folder / name).unlink()
    os.mkfifo(run.folder / name)
    assert find_run(run.folder) == run
    assert not run.has_begun()
    with pytest.raises(ResultError, match=r"damaged result file \(is no regular file\)"):
        run.plan() if name == "plan.json" else run.environment()


def test_pipes_elsewhere_are_no_results(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    run.write_point(record(), None)
    for folder in ("samples", "predictions", "measured/memory", "measured/latency"):
        (run.folder / folder).mkdir(parents=True)
    names = ("heatmap.npz", "illustration.npz", "truth.json.gz", f"samples/{KEY}.parquet")
    more = (f"predictions/{KEY}.json.gz", f"measured/memory/{KEY}.json")
    for name in (*names, *more, "measured/latency/session-s.parquet"):
        os.mkfifo(run.folder / name)
    assert not (run.has_samples(KEY) or run.has_predictions(KEY) or run.has_truth())
    assert run.measured("memory", KEY) is None
    assert read_heatmap(run) is None
    assert read_illustration(run) is None
    for read in (run.truth, lambda: run.session("s"), lambda: run.samples(KEY)):
        with pytest.raises(ResultError, match="no regular file"):
            read()


def test_deep_nesting_is_damage(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    run.write_point(record(), None, {"frames": [], "results": []})
    deep = gzip.compress(b'{"results": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    (run.folder / "truth.json.gz").write_bytes(deep)
    point = run.folder / "points" / f"{KEY}.json"
    content = json.loads(point.read_text("utf-8")) | {"files": {}, "schema": 4}
    del content["sha256"]
    point.write_text(json.dumps(content), "utf-8")
    (run.folder / "predictions" / f"{KEY}.json.gz").write_bytes(deep)
    for read in (run.truth, lambda: run.predictions(KEY)):
        with pytest.raises(ResultError, match=r"damaged result file \("):
            read()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    bomb = gzip.compress(b'{"a": "' + b"0" * (300 << 20) + b'"}')
    (run.folder / "truth.json.gz").write_bytes(bomb)
    with pytest.raises(ResultError, match="far larger unpacked than a result is"):
        run.truth()
