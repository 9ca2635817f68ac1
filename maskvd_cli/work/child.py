"""A process that performs one unit: `python -m maskvd_cli.work.child DESCRIPTOR`.

The unit comes pickled over stdin; pieces and talk go pickled over the descriptor, then None. Where
the parent is gone, the process ends at once with everything that it started.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys


def main(descriptor: int) -> None:
    """Perform the unit that comes over stdin."""
    from maskvd_cli.work.executors.messages import receive, send  # noqa: PLC0415

    content = receive(sys.stdin.fileno())
    if content is None:
        return
    _guard(descriptor)
    # Heavy imports, and all that may hang, come after that.
    from maskvd_cli.work.perform import perform  # noqa: PLC0415
    from maskvd_cli.work.prepare import prepare  # noqa: PLC0415

    def answer(message: object) -> None:
        send(descriptor, pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    for piece in perform(pickle.loads(content), prepare, answer):
        answer(piece)
    answer(None)


def _guard(descriptor: int) -> None:
    """Let a small process wait until the parent closes its end of stdin, and end the group then.

    A thread could not where this process hangs inside of C code.
    """
    if os.fork():
        return
    os.close(descriptor)
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
