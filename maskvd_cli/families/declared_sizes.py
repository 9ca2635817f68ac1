"""Sizes that a checkpoint declares, held against the file's own before anything is allocated.

A few bytes can declare gigabytes: a compressed archive, a header with a false shape, a storage of
one number under a tensor of billions. Weights hardly compress, so that what a file unpacks to may
be a few times as large as the file and no more.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

_TIMES, _ALWAYS = 8, 16 << 20
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# The archive's own number, protocol and machine stand before the content of an old .pth.
_LEGACY_PREFACE = 3
# Bytes of one number, by the name of torch's storage.
_WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("ComplexDoubleStorage",), 16),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
}


class DeclaredSizeError(ValueError):
    """A file that declares more than it can hold."""


def most_bytes(path: Path) -> int:
    """Return how many bytes the content of a file may take: 8 times the file, and 16 MiB."""
    return _TIMES * path.stat().st_size + _ALWAYS


def check_npz(path: Path) -> None:
    """Refuse an archive of arrays whose members or shapes are larger than the file can hold.

    Raises DeclaredSizeError, and what zipfile and numpy raise for damaged files.
    """
    with zipfile.ZipFile(path) as archive:
        _check_total(_unpacked(archive).values(), path)
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as member:
                version = np.lib.format.read_magic(member)
                # Names of fields alone need version 3, and weights have no fields.
                shape, _, dtype = _NPY_HEADERS.get(version, _NPY_HEADERS[2, 0])(member)
            # Arrays of objects have no size of their own, and are refused later.
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > entry.file_size:
                sides = "x".join(map(str, shape))
                raise DeclaredSizeError(
                    f"{entry.filename} declares {sides} numbers and has {entry.file_size} bytes"
                )


def check_pth(path: Path) -> None:
    """Refuse a file of torch whose records or storages are larger than the file can hold.

    Its pickle is walked without importing or calling anything that it names. Raises
    DeclaredSizeError, and what zipfile and pickle raise for damaged files.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            claims = list(_legacy_claims(file))
        _check_total((claim for _, claim in claims), path)
        return
    with zipfile.ZipFile(path) as archive:
        sizes = _unpacked(archive)
        _check_total(sizes.values(), path)
        for name in sizes:
            if not name.endswith("/data.pkl"):
                continue
            with archive.open(name) as content:
                claims = list(_claims(content))
            for key, claim in claims:
                record = sizes.get(f"{name.removesuffix('data.pkl')}data/{key}", 0)
                if claim > record:
                    raise DeclaredSizeError(
                        f"storage {key[:40]} declares {claim} bytes, and {record} are there"
                    )


def check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that hold more numbers than are stored: expanded ones, and many views of one.

    Nothing is copied. Raises DeclaredSizeError.
    """
    total = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        total += size
        stored = tensor.untyped_storage().nbytes()
        if size > stored:
            raise DeclaredSizeError(f"{name} has {size} bytes, of which {stored} are stored")
    _check_total((total,), path)


def _unpacked(archive: zipfile.ZipFile) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for entry in archive.infolist():
        # Names may come twice; which of them is read is not known.
        sizes[entry.filename] = sizes.get(entry.filename, 0) + entry.file_size
    return sizes


def _check_total(sizes: Iterable[int], path: Path) -> None:
    total, most = sum(sizes), most_bytes(path)
    if total > most:
        raise DeclaredSizeError(
            f"its content would take {total / 1e6:.0f} MB, and the file has "
            f"{path.stat().st_size / 1e6:.1f} MB"
        )


def _legacy_claims(file: IO[bytes]) -> Iterator[tuple[str, int]]:
    for _ in range(_LEGACY_PREFACE):
        _Walker(file).load()
    yield from dict(_claims(file)).items()


def _claims(file: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Yield key and bytes of every storage that a pickle of torch names."""
    walker = _Walker(file)
    walker.load()
    for saved in walker.storages:
        try:
            _, kind, key, _, numbers = saved[:5]
            yield str(key), _WIDTHS.get(kind.named, 1) * int(numbers)
        except (TypeError, ValueError, AttributeError) as error:
            raise DeclaredSizeError("a storage is declared in no way that torch writes") from error


class _Inert:
    """Stands for whatever a pickle names: takes anything, does nothing."""

    named = ""

    def __new__(cls, *arguments: object, **options: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *arguments: object, **options: object) -> None:
        """Forget the arguments."""

    def __call__(self, *arguments: object, **options: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        """Forget the state."""

    def __setitem__(self, key: object, value: object) -> None:
        """Forget the item."""

    def append(self, value: object) -> None:
        """Forget the item."""

    def extend(self, values: object) -> None:
        """Forget the items."""

    def add(self, value: object) -> None:
        """Forget the item."""


# The unpickler in C makes room for as many remembered objects as a file says; this one, in Python,
# only for those that are there. It is torch's way of reading such files, too.
class _Walker(pickle._Unpickler):  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: list[tuple[Any, ...]] = []

    def find_class(self, module: str, name: str) -> type[_Inert]:
        return type("Named", (_Inert,), {"named": name})

    def persistent_load(self, pid: object) -> _Inert:
        if isinstance(pid, tuple):
            self.storages.append(pid)
        return _Inert()
