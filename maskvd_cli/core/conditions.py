"""Conditions: what of a machine and its software decides a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_PACKAGES = ("torch", "torchvision", "numpy")
# Names in an environment, and what they are called among the conditions.
_FACTS = {
    "processor": "processor",
    "cores": "cores",
    "threads": "threads",
    "device": "device",
    "gpu": "gpu",
    "driver": "driver",
    "cuda": "cuda",
    "float32_products": "float32_products",
    "tf32_convolutions": "tf32",
}


def conditions_of(environment: Mapping[str, Any], precision: str | None = None) -> dict[str, Any]:
    """Return the conditions that an environment tells; what it does not tell is left out.

    Only equal conditions let a record stand for a new measurement, and let two stand under each
    other without a word. The version of maskvd is not among them: revisions tell what changed.
    """
    conditions = {
        name: environment[fact]
        for fact, name in _FACTS.items()
        if environment.get(fact) is not None
    }
    python = environment.get("python")
    if isinstance(python, str):
        conditions["python"] = ".".join(python.split(".")[:2])
    packages = environment.get("packages")
    if isinstance(packages, Mapping):
        versions = cast(Mapping[str, Any], packages)
        conditions |= {name: versions[name] for name in _PACKAGES if versions.get(name)}
    return conditions if precision is None else {**conditions, "precision": precision}
