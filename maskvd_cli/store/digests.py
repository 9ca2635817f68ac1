"""One sha256 for many pieces: of their files, and of the outputs in them alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskvd_cli.store.parts import digests_in
from maskvd_cli.store.piece import OUTPUT
from maskvd_cli.store.records import read_named
from maskvd_cli.store.sealed import sha256_of_bytes


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return the sha256 of the files' own, in order. Raises ResultError where one is absent."""
    return _joined(sha256_of_bytes(read_named(path, None)) for path in paths)


def digests_of_pieces(paths: Iterable[Path]) -> tuple[str, str]:
    """Return `digest_of_files`, and the sha256 of what pieces say of their outputs, in order.

    Pieces also hold the time they took, so that equal outputs lie in files that differ. Every file
    is read once. Raises ResultError where one is absent or damaged.
    """
    files: list[str] = []
    outputs: list[str] = []
    for path in paths:
        content = read_named(path, None)
        files.append(sha256_of_bytes(content))
        arrays = sorted(digests_in(path, content).items())
        outputs += [f"{name} {digest}\n" for name, digest in arrays if name.startswith(OUTPUT)]
        outputs.append("\n")
    return _joined(files), _joined(outputs)


def _joined(texts: Iterable[str]) -> str:
    return sha256_of_bytes("".join(texts).encode())
