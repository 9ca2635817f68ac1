"""Why something could not be done, as it is stored; memory and devices by names of their own."""

from __future__ import annotations

import traceback

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.store.schema import Failure

TRACEBACK_CHARS = 4096
# Longer messages hold tensors or files; a record must stay one that can be read.
_MESSAGE_CHARS = 4096
# Kinds of what no exception of Python tells, or tells in many ways.
OUT_OF_MEMORY, DEVICE_LOST = "OutOfMemory", "DeviceLost"
_NO_MEMORY = (
    "out of memory", "can't allocate memory", "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)  # fmt: skip
# What CUDA reports again on every later call of the process.
_STICKY = (
    "device-side assert", "illegal memory access", "illegal instruction", "misaligned address",
    "unspecified launch failure", "launch timed out", "uncorrectable ecc error",
    "hardware stack error", "invalid program counter", "invalid address space",
)  # fmt: skip
_LESS = "a smaller input or `precision: float16` takes less"
_UNUSABLE = "the process cannot use the device any more"


def failure_of(error: BaseException) -> Failure:
    """Return an exception as a failure; the end of its traceback where it is a bug.

    `OutOfMemory`: torch could get no more memory, of a GPU or of the machine. `DeviceLost`: after
    this error nothing works on the device in this process. Both are told in one line. What the
    frames of the error held is let go of.
    """
    kind, message = type(error).__name__, str(error)
    trace = None
    if isinstance(error, RuntimeError):  # torch's own are
        kind, message = _named(kind, message)
    if not isinstance(error, MaskvdError):
        trace = tidy_path("".join(traceback.format_exception(error)))[-TRACEBACK_CHARS:]
    let_go(error)
    return Failure(kind=kind, message=_short(message), traceback=trace)


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold.

    The tensors of a frame that did not fit into memory would stay there as long as the error does,
    and what runs next would not fit either.
    """
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARS else f"{message[:_MESSAGE_CHARS]}..."


def _named(kind: str, message: str) -> tuple[str, str]:
    """Return kind and message of what torch raises, by its text: its types differ by version."""
    told = message.lower()
    first = message.strip().partition("\n")[0].rstrip(". ")
    if kind == "OutOfMemoryError" or any(sign in told for sign in _NO_MEMORY):
        return OUT_OF_MEMORY, f"{first}; {_LESS}"
    if any(sign in told for sign in _STICKY):
        return DEVICE_LOST, f"{first}; {_UNUSABLE}"
    return kind, message
