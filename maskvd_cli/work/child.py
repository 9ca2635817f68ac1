"""A process that performs units: `python -m maskvd_cli.work.child UNITS ANSWERS`.

Units come pickled over the first descriptor, one when the one before has ended; pieces and talk go
pickled over the second, then None. What a recipe needs is read once for the units that follow each
other. Where the parent is gone, the process ends at once with everything that it started.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskvd_cli.recipe.load import LoadedRecipe
    from maskvd_cli.work.prepare import Sweep


def main(units: int, answers: int) -> None:
    """Perform the units that come, until there are no more."""
    _guard(units, answers)
    from maskvd_cli.work.executors.messages import receive, send  # noqa: PLC0415

    def answer(message: object) -> None:
        send(answers, pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    opened = _Opened()
    while (content := receive(units)) is not None:
        # Heavy imports, and all that may hang, come after the guard and the first unit.
        from maskvd_cli.work.perform import perform  # noqa: PLC0415

        for piece in perform(pickle.loads(content), opened.sweep, answer):
            answer(piece)
        answer(None)


class _Opened:
    """The recipe that was opened last."""

    def __init__(self) -> None:
        self._last: tuple[LoadedRecipe, Sweep] | None = None

    def sweep(self, loaded: LoadedRecipe) -> Sweep:
        """Return the recipe with all that is read for it; nothing is kept of another one."""
        from maskvd_cli.work.prepare import prepare  # noqa: PLC0415

        if self._last is None or self._last[0] != loaded:
            self._last = None
            self._last = loaded, prepare(loaded)
        return self._last[1]


def _guard(*descriptors: int) -> None:
    """Let a small process wait until the parent closes its end of stdin, and end the group then.

    A thread could not where this process hangs inside of C code. `descriptors` are this process's
    alone: what it starts must not hold the pipes open.
    """
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if os.fork():
        return
    for descriptor in descriptors:
        os.close(descriptor)
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
