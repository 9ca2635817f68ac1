"""Messages over a pipe: eight bytes of length, then the content."""

from __future__ import annotations

import contextlib
import os
import select
import struct
from collections.abc import Iterator

_HEAD = struct.Struct("<Q")
_CHUNK = 1 << 20


def send(descriptor: int, content: bytes) -> None:
    """Write a message whole. Raises BrokenPipeError where nobody reads any more."""
    left = memoryview(_HEAD.pack(len(content)) + content)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> bytes | None:
    """Wait for a message and return it; None where the other end was closed before."""
    head = _exactly(descriptor, _HEAD.size)
    return None if head is None else _exactly(descriptor, _HEAD.unpack(head)[0])


def _exactly(descriptor: int, size: int) -> bytes | None:
    content = bytearray()
    while len(content) < size:
        part = os.read(descriptor, min(size - len(content), _CHUNK))
        if not part:
            return None
        content += part
    return bytes(content)


class Incoming:
    """The messages that a process sends over a pipe that does not block.

    Also learns of the end of the process where something that it started holds the pipe open.
    """

    def __init__(self, descriptor: int, process: int) -> None:
        self._descriptor = descriptor
        self._content = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._exit = _exit_of(process)
        if self._exit is not None:
            self._poll.register(self._exit, select.POLLIN)
        self.ended = False

    def close(self) -> None:
        """Let go of the process."""
        if self._exit is not None:
            os.close(self._exit)

    def wait(self, seconds: float | None) -> Iterator[bytes]:
        """Sleep until something comes, for at most `seconds`; yield the messages that are whole.

        `ended` then tells whether nothing more comes.
        """
        ready = dict(self._poll.poll(None if seconds is None else seconds * 1000))
        if self._descriptor in ready:
            with contextlib.suppress(BlockingIOError):
                part = os.read(self._descriptor, _CHUNK)
                self.ended = not part
                self._content += part
        else:
            # What the process had sent is read before its end counts.
            self.ended = self._exit in ready
        while len(self._content) >= _HEAD.size:
            end = _HEAD.size + _HEAD.unpack_from(self._content)[0]
            if len(self._content) < end:
                return
            message = bytes(self._content[_HEAD.size : end])
            del self._content[:end]
            yield message


def _exit_of(process: int) -> int | None:
    """Return a descriptor that can be read when a process ends; None where the system has none."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None
