"""Why something could not be done, as it is stored."""

from __future__ import annotations

import traceback

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.store.schema import Failure

TRACEBACK_CHARS = 4096


def failure_of(error: Exception) -> Failure:
    """Return an exception as a failure; the end of its traceback where it is a bug."""
    kind = type(error).__name__
    if isinstance(error, MaskvdError):
        return Failure(kind=kind, message=str(error))
    trace = "".join(traceback.format_exception(error))
    return Failure(kind=kind, message=str(error), traceback=tidy_path(trace)[-TRACEBACK_CHARS:])
