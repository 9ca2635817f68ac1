"""One sha256 for many pieces: of their files, and of the outputs in them alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from maskvd_cli.store.parts import digests_in
from maskvd_cli.store.piece import OUTPUT
from maskvd_cli.store.records import read_named
from maskvd_cli.store.sealed import sha256_of_bytes
from maskvd_cli.store.stamps import Stamps, look


def digest_of_files(paths: Iterable[Path], known: Stamps) -> str:
    """Return the sha256 of the files' own, in order; what is `known` is not read.

    Raises ResultError where one is absent.
    """
    return _joined(known.digest(path) or sha256_of_bytes(read_named(path, None)) for path in paths)


def digests_of_pieces(paths: Iterable[Path]) -> tuple[str, str, Stamps]:
    """Return `digest_of_files`, the sha256 of what pieces say of their outputs, and the stamps.

    Pieces also hold the time they took, so that equal outputs lie in files that differ. Every file
    is read once, in order. Raises ResultError where one is absent or damaged.
    """
    files: list[str] = []
    outputs: list[str] = []
    stamps = Stamps()
    for path in paths:
        seen = look(path)
        content = read_named(path, None)
        files.append(sha256_of_bytes(content))
        stamps.note(path, seen, files[-1])
        arrays = sorted(digests_in(path, content).items())
        outputs += [f"{name} {digest}\n" for name, digest in arrays if name.startswith(OUTPUT)]
        outputs.append("\n")
    return _joined(files), _joined(outputs), stamps


def _joined(texts: Iterable[str]) -> str:
    return sha256_of_bytes("".join(texts).encode())
