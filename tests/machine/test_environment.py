"""What is told of the checkout, without touching it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from maskvd_cli.machine import environment as module
from maskvd_cli.machine.environment import environment

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    command = ["git", *who, "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("content", "utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(module, "_SOURCE", tmp_path)
    return tmp_path


def test_the_state_of_a_checkout_is_told_and_its_index_is_not_written(checkout: Path) -> None:
    index, commit = checkout / ".git/index", git(checkout, "rev-parse", "--short=12", "HEAD")
    # The same content with another time: a plain `git status` notes that in the index.
    os.utime(checkout / "file", (10**9, 10**9))
    before = index.read_bytes()
    assert environment([])["git"] == commit
    assert index.read_bytes() == before
    (checkout / "file").write_text("other", "utf-8")
    assert environment([])["git"] == f"{commit}+changes"
    assert index.read_bytes() == before


def test_a_lock_of_someone_else_does_not_matter(checkout: Path) -> None:
    (checkout / ".git/index.lock").touch()
    assert environment([])["git"] == git(checkout, "rev-parse", "--short=12", "HEAD")
