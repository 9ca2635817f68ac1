"""Checksums in result files: one changed digit is damage like any other.

A JSON object ends with the key `sha256`: of all its other keys and values, written in one way
whatever the order of keys, spaces and line ends of the file. Files that are no JSON (samples,
predictions) are named with their sha256 in the record that they belong to; `.npz` files hold that
of each of their arrays. Checksums came with schema 5; what says that it is older is read without
one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEAL = "sha256"
SEALED_SINCE = 5


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its checksum as the last key."""
    rest = without_seal(content)
    return {**rest, SEAL: _digest(rest)}


def sealed_text(content: Mapping[str, Any], indent: int | None = 2) -> bytes:
    """Return a JSON object with its checksum as the bytes of a file; NaN is never written."""
    separators = (",", ":") if indent is None else None

    def text(ascii_only: bool) -> str:
        return json.dumps(
            sealed(content),
            indent=indent,
            separators=separators,
            allow_nan=False,
            ensure_ascii=ascii_only,
        )

    try:
        return f"{text(False)}\n".encode()
    except UnicodeEncodeError:  # a path that is no UTF-8 holds halves of characters
        return f"{text(True)}\n".encode()


def read_object(text: str) -> dict[str, Any]:
    """Read a JSON object, its checksum still in it.

    Raises ValueError for what is no JSON object, a key that stands twice and a number that is not
    finite; RecursionError for deep nesting.
    """
    data: Any = finite_json(text, object_pairs_hook=_once)
    if not isinstance(data, dict):
        raise ValueError("no JSON object")
    return data  # pyright: ignore[reportUnknownVariableType]


def without_seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object without its checksum, unchecked."""
    return {name: value for name, value in content.items() if name != SEAL}


def unsealed(
    content: Mapping[str, Any], version: str = "schema", since: int = SEALED_SINCE
) -> dict[str, Any]:
    """Check the checksum of a JSON object, and return the object without it.

    `version`: the key that tells how old the file is; from `since` on it must hold a checksum.
    Raises ValueError for a checksum that is missing or wrong.
    """
    rest, known = without_seal(content), content.get(SEAL)
    if known is None:
        number = rest.get(version)
        if isinstance(number, int) and number >= since:
            raise ValueError("the checksum is missing")
    elif known != _digest(rest):
        raise ValueError("the checksum does not fit: something was changed")
    return rest


def sha256_of_bytes(content: bytes) -> str:
    """Return the sha256 of a file's bytes, as records name it."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_array(array: NDArray[Any]) -> str:
    """Return the sha256 of an array's type, shape and numbers, in rows whatever its layout."""
    head = json.dumps([array.dtype.str, list(array.shape)]).encode()
    return sha256_of_bytes(head + array.tobytes())


def finite_json(text: str, **hooks: Any) -> Any:
    """Read JSON whose numbers are all finite. Raises ValueError for others, or for no JSON."""

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"{number} is no finite number")
        return value

    return json.loads(text, parse_constant=finite, parse_float=finite, **hooks)


def readable_json(content: Any) -> bytes:
    """Return content as JSON that every reader takes.

    Halves of characters, which a path that is no UTF-8 holds, are spelled as escapes.
    """
    try:
        return json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(_spelled(content), ensure_ascii=False).encode()


def _spelled(content: Any) -> Any:
    if isinstance(content, dict):
        return {_spelled(name): _spelled(value) for name, value in content.items()}  # pyright: ignore
    if isinstance(content, list):
        return [_spelled(value) for value in content]  # pyright: ignore
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_of_bytes(canonical.encode())
