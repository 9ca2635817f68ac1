"""Golden cases with something changed, which `verify` must see."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from maskvd_cli.verify.cases import Agreement
from maskvd_cli.verify.run import verify

Arrays = dict[str, np.ndarray[Any, Any]]
Change = Callable[[Arrays], object]


def changed(root: Path, folder: Path, name: str, change: Change) -> Agreement:
    """Verify a case of `root`, copied into `folder` and changed there."""
    with np.load(root / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key].copy() for key in file.files}
    case = Path(name)
    if weights := json.loads(str(arrays["config"])).get("weights"):
        shutil.copyfile(root / case.parent / weights, folder / weights)
    change(arrays)
    np.savez(folder / f"{case.name}.npz", **arrays)
    return verify(folder / f"{case.name}.npz")


def config(**news: Any) -> Change:
    """Return what gives a case another configuration."""

    def change(arrays: Arrays) -> None:
        content = json.loads(str(arrays["config"])) | news
        arrays["config"] = np.array(json.dumps(content))

    return change


def off(key: str, by: float) -> Change:
    """Return what adds to the number in the middle of an array."""

    def change(arrays: Arrays) -> None:
        arrays[key].flat[arrays[key].size // 2] += by

    return change
