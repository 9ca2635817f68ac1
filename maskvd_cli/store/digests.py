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
    digests = (sha256_of_bytes(read_named(path, None)) for path in paths)
    return sha256_of_bytes("".join(digests).encode())


def digest_of_outputs(paths: Iterable[Path]) -> str:
    """Return the sha256 of what the pieces say of the outputs that they hold, in order.

    Pieces also hold the time they took, so that equal outputs lie in files that differ. Raises
    ResultError where one is absent or damaged.
    """
    lines: list[str] = []
    for path in paths:
        arrays = sorted(digests_in(path, read_named(path, None)).items())
        lines += [f"{name} {digest}\n" for name, digest in arrays if name.startswith(OUTPUT)]
        lines.append("\n")
    return sha256_of_bytes("".join(lines).encode())
