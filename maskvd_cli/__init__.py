"""maskvd: one harness for methods that make video detection with vision transformers cheaper.

As a library: `load` a model, `run` a method over frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from maskvd_cli.families.base import Model

__all__ = ["__version__", "load", "run"]
__version__ = "0.1.0"


def load(
    weights: str | Path, *, name: str | None = None, input: str | None = None, device: str = "auto"
) -> Model:
    """Return the model of a weights file; see `maskvd_cli.methods.library.load`."""
    from maskvd_cli.methods import library  # noqa: PLC0415 - `maskvd --help` needs no torch

    return library.load(weights, name=name, input=input, device=device)


def run(model: Model, method: str, **options: Any) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Return a function that runs a method over a clip; see `maskvd_cli.methods.library.run`."""
    from maskvd_cli.methods import library  # noqa: PLC0415 - `maskvd --help` needs no torch

    return library.run(model, method, **options)
