"""How many threads torch uses for a piece of work."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def single_thread() -> Generator[None]:
    """Let torch use one thread inside the block.

    For small tensors more threads save nothing, and where other work keeps the cores busy their
    waiting makes a planned sweep many times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
