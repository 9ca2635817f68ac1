"""The three streams of the process, so that no work is lost because nobody listens.

Talk on stderr is dropped where it cannot be written: a closed pipe, a full disk, a dead terminal.
Data on stdout is dropped where its reader has gone (a closed pipe, or no stream at all), and the
command goes on to its own exit code; a full disk is an error, since data would be lost. What a
stream's encoding cannot show is replaced.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Any, TextIO

_STDOUT, _STDERR = 1, 2
_GONE = (errno.EPIPE, errno.EBADF, errno.ECONNRESET)
# Middle dot, ellipsis, dashes, times, minus, quotation marks.
_ALIKE = {
    "\u00b7": "-",
    "\u2026": "...",
    "\u2013": "-",
    "\u2014": "-",
    "\u00d7": "x",
    "\u2212": "-",
    "\u201c": '"',
    "\u201d": '"',
    "\u2019": "'",
}
_ERRORS = "maskvd-alike"


class _Raw(io.RawIOBase):
    """Bytes to a descriptor; drops them once nobody reads, or, for talk, after any error."""

    def __init__(self, descriptor: int, *, is_talk: bool) -> None:
        self._descriptor, self._is_talk = descriptor, is_talk
        self.is_gone = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: Any, /) -> int:
        """Write, or drop, and say that all was written. Raises OSError where data would be lost."""
        data = memoryview(content)
        while not self.is_gone and data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # whoever set it to non-blocking does not read as fast
                if self._is_talk:
                    break
                os.set_blocking(self._descriptor, True)
            except OSError as error:
                if not self._is_talk and error.errno not in _GONE:
                    raise
                self.is_gone = True
        return memoryview(content).nbytes


def install() -> None:
    """Take over stdout and stderr of the process; closed ones are opened on nothing.

    Without that, a result file might be given the number of a closed stream and be written to.
    On Windows, whose terminals take no bytes, all stays as it is.
    """
    if os.name != "posix":
        return
    codecs.register_error(_ERRORS, _replaced)
    closed = [number for number in (0, _STDOUT, _STDERR) if not _is_open(number)]
    while closed:
        number = os.open(os.devnull, os.O_RDWR)
        if number > _STDERR:
            os.close(number)
            break
        os.set_inheritable(number, True)
    sys.stdout = _stream(sys.stdout, _STDOUT, gone=_STDOUT in closed)
    sys.stderr = _stream(sys.stderr, _STDERR, gone=_STDERR in closed)


def stdout_is_gone() -> bool:
    """Tell whether nobody reads stdout any more, so that a command that only shows may end."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Raw) and raw.is_gone


def _stream(old: TextIO | None, descriptor: int, *, gone: bool) -> TextIO:
    encoding = "utf-8" if old is None else old.encoding
    raw = _Raw(descriptor, is_talk=descriptor == _STDERR)
    raw.is_gone = gone
    terminal = raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace" if descriptor == _STDERR else _ERRORS,
        line_buffering=terminal or descriptor == _STDERR,
    )


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks: what looks alike, else `?`."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_ALIKE.get(character, "?") for character in text), error.end
