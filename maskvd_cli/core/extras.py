"""Packages that come with an extra of the installation."""

from __future__ import annotations

import importlib
from typing import Any

from maskvd_cli.core.errors import MaskvdError


def imported(module: str, need: str, extra: str, error: type[MaskvdError] = MaskvdError) -> Any:
    """Return a module of an extra. Raises `error` where its package is not installed.

    `need` says what needs which package.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise error(
            f"{need}, which is not installed", remedy=f"pip install 'maskvd[{extra}]'"
        ) from problem
