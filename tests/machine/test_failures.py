"""What torch raises, by kinds of our own; an error that is kept holds no tensors."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.failures import failure_of

ASSERT = (
    "CUDA error: device-side assert triggered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)
MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.02 GiB is free."
)
# Of torch 2.8 and later.
DEVICE: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError(MEMORY), "OutOfMemory", "Tried to allocate 20.00 GiB"),
        (torch.cuda.OutOfMemoryError(MEMORY), "OutOfMemory", "precision: float16"),
        (DEVICE("CUDA error: out of memory\nCompile with ..."), "OutOfMemory", "out of memory;"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "OutOfMemory", "MPS"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
         "OutOfMemory", "cublasCreate"),
        (DEVICE(ASSERT), "DeviceLost", "device-side assert triggered; the process cannot use"),
        (RuntimeError(ASSERT), "DeviceLost", "device-side assert"),
        (DEVICE("CUDA error: an illegal memory access was encountered"), "DeviceLost", "illegal"),
    ],
)  # fmt: skip
def test_memory_and_devices_have_kinds_of_their_own(
    error: RuntimeError, kind: str, message: str
) -> None:
    failure = failure_of(error)
    assert failure.kind == kind
    assert message in failure.message
    assert "\n" not in failure.message
    assert failure.traceback is not None


def test_the_machine_s_own_memory_is_told_alike() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert failure_of(raised.value).kind == "OutOfMemory"


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes"), ValueError("out of memory"), KeyError("k")]
)
def test_other_errors_keep_their_name_and_words(error: Exception) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.message) == (type(error).__name__, str(error))


def test_a_message_of_any_length_fits_into_a_record() -> None:
    failure = failure_of(ValueError("x" * (20 << 20)))
    assert failure.message == "x" * 4096 + "..."
    assert len(str(failure.traceback)) <= 4096


def test_what_was_refused_has_no_traceback() -> None:
    failure = failure_of(UsageError("no", remedy="yes"))
    assert (failure.kind, failure.message, failure.traceback) == ("UsageError", "no; yes", None)


def test_an_error_that_is_kept_holds_no_tensors() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def run() -> None:
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise torch.OutOfMemoryError(MEMORY) from error

    kept: list[Exception] = []
    try:
        run()
    except torch.OutOfMemoryError as error:
        kept.append(error)
    gc.collect()
    assert held[0]() is not None
    failure_of(kept[0])
    gc.collect()
    assert held[0]() is None
