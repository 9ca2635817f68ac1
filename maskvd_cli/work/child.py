"""A process that performs one unit: `python -m maskvd_cli.work.child DESCRIPTOR PARENT`.

The unit comes pickled over stdin; pieces and talk go pickled over the descriptor, then None. The
process ends at once, with its group, where the parent is gone.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading

_DIE_WITH_PARENT = 1


def main(descriptor: int, parent: int) -> None:
    """Perform the unit that comes over stdin."""
    _end_with_parent(parent)
    # Heavy imports come after that.
    from maskvd_cli.work.executors.messages import receive, send  # noqa: PLC0415

    content = receive(sys.stdin.fileno())
    if content is None:
        return
    threading.Thread(target=_watch_parent, daemon=True).start()
    unit = pickle.loads(content)
    from maskvd_cli.work.perform import perform  # noqa: PLC0415
    from maskvd_cli.work.prepare import prepare  # noqa: PLC0415

    def answer(content: object) -> None:
        send(descriptor, pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL))

    for piece in perform(unit, prepare, answer):
        answer(piece)
    answer(None)


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent ends, also where Python hangs."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        _end()


def _watch_parent() -> None:
    """Wait until the parent closes its end of stdin, then end with everything started here."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
