"""The detector that a measured sweep runs: its weights, heads, device and precision."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.families.checkpoints import load_into, read_metadata, read_tensors, sha256_of
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.stated import detector_heads, stated_classes, states_anchors
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.machine.device import DTYPES, resolve_device
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.scenes.geometry import Geometry


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
        self._arch = get_arch(recipe.model.name)
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

    def notes(self) -> list[str]:
        """Return what a reader of the results must know of the weights."""
        if self.random:
            return []
        name, notes = self._path.name, list[str]()
        if not states_anchors(self._metadata, self._path):
            sizes = ", ".join(f"{size:g}" for size in self.heads.anchor_sizes)
            ratios = ", ".join(f"{ratio:g}" for ratio in self.heads.anchor_ratios)
            notes.append(
                f"Weights {name} do not say their anchors; taken are ViTDet-B's: sizes {sizes}, "
                f"ratios {ratios}. With other anchors than in training mAP50 is too low."
            )
        arch = self._metadata.get("arch", self._arch.name)
        if arch != self._arch.name:
            notes.append(f"Weights {name} say that they are of {arch}, not {self._arch.name}.")
        return notes

    def _head_arch(self) -> HeadArch:
        if self._tensors is None:
            classes = len(self._named or self._classes)
            return HeadArch.for_patch(self._arch.patch, classes=classes)
        return detector_heads(self._tensors, self._metadata, self._arch, self._path)

    @cached_property
    def _metadata(self) -> Mapping[str, str]:
        """What our own training wrote beside the tensors; nothing in files of others."""
        is_ours = self._path.suffix.lower() == ".safetensors" and not self.random
        return read_metadata(self._path) if is_ours else {}

    def _labels(self) -> tuple[int | None, ...]:
        """Return, for every class of the detector, the dataset's class or None."""
        stated = stated_classes(self._metadata, self.heads.classes, self._path)
        names = self._named or stated or self._classes
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
