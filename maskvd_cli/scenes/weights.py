"""The detector that a measured sweep runs: its weights, heads, device and precision."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.families.checkpoints import load_into, read_metadata, read_tensors, sha256_of
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.machine.device import DTYPES, resolve_device
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.scenes.geometry import Geometry

_WIDTHS = {
    "classes": "box_head.classes.bias",
    "channels": "rpn.convs.0.bias",
    "hidden": "box_head.fc.bias",
}


class Weights:
    """Weights as the recipe names them, read once; `classes` are the dataset's.

    Raises CheckpointError for a file that cannot be used, UsageError for classes that do not fit.
    """

    def __init__(self, recipe: Recipe, classes: Sequence[str]) -> None:
        assert recipe.model.weights is not None
        self.random = recipe.model.weights == RANDOM_WEIGHTS
        self.device = resolve_device(recipe.device)
        self.precision = recipe.precision
        self._path = Path(recipe.model.weights)
        self._seed = recipe.seed
        self._detectors: dict[Geometry, Detector] = {}
        self._named = recipe.model.classes
        self._classes = list(classes)
        self._tensors = None if self.random else read_tensors(self._path)
        self.heads = self._head_arch()
        self.label_of = self._labels()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, or `random`."""
        return RANDOM_WEIGHTS if self.random else sha256_of(self._path)

    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""
        return {
            "weights": self.digest,
            "classes": self._named,
            "device": self.device.type,
            "precision": self.precision,
            "anchor_sizes": list(self.heads.anchor_sizes),
            "anchor_ratios": list(self.heads.anchor_ratios),
        }

    def detector(self, geometry: Geometry) -> Detector:
        """Return the detector for an input, loaded strictly, made once, in evaluation mode."""
        if geometry not in self._detectors:
            made = Detector(geometry.arch, self.heads, geometry.input, seed=self._seed)
            if self._tensors is not None:
                load_into(made, self._tensors, self._path)
            made.requires_grad_(False).eval()
            self._detectors[geometry] = made.to(self.device, DTYPES[self.precision])
        return self._detectors[geometry]

    def _head_arch(self) -> HeadArch:
        if self._tensors is None:
            return HeadArch(classes=len(self._named or self._classes))
        missing = [name for name in _WIDTHS.values() if name not in self._tensors]
        if missing:
            raise UsageError(
                f"{self._path} holds no {missing[0]}, so it is no detector of maskvd",
                remedy="convert the published file first: maskvd convert",
            )
        widths = {part: len(self._tensors[name]) for part, name in _WIDTHS.items()}
        widths["classes"] -= 1
        parts: dict[str, Any] = {**_said_heads(self._metadata), **widths}
        return HeadArch(**parts)

    @cached_property
    def _metadata(self) -> Mapping[str, str]:
        """What our own training wrote beside the tensors; nothing in files of others."""
        is_ours = self._path.suffix.lower() == ".safetensors" and not self.random
        return read_metadata(self._path) if is_ours else {}

    def _labels(self) -> tuple[int | None, ...]:
        """Return, for every class of the detector, the dataset's class or None."""
        said: list[str] | None = json.loads(self._metadata.get("classes", "null"))
        names = self._named or said or self._classes
        for name in names:
            if name is not None and name not in self._classes:
                raise UsageError(f"model.classes: {unknown('class', name, self._classes)}")
        if len(names) != self.heads.classes:
            raise UsageError(
                f"the weights have {self.heads.classes} classes, not {len(names)} "
                f"({', '.join(str(name) for name in names)})",
                remedy="say in model.classes which of the dataset's each stands for, null for none",
            )
        return tuple(None if name is None else self._classes.index(name) for name in names)


def _said_heads(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what the file says of its heads; where it says nothing they are ViTDet-B's."""
    said: dict[str, Any] = json.loads(metadata.get("heads", "{}"))
    known = {field.name for field in fields(HeadArch)}
    # What concerns training alone is nested.
    plain = {name: value for name, value in said.items() if not isinstance(value, dict)}
    return {
        name: tuple(cast(list[float], value)) if isinstance(value, list) else value
        for name, value in plain.items()
        if name in known
    }
