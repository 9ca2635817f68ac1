"""The model that a measured sweep runs: its weights, heads, device and precision."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.core.words import counted
from maskvd_cli.families.base import Model, WeightsFile
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.snapshots import digest_of, read_weights
from maskvd_cli.families.zoo import entry
from maskvd_cli.machine.device import DTYPES, resolve_device
from maskvd_cli.recipe.class_maps import fitting, mapped
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.scenes.geometry import Geometry
from maskvd_cli.scenes.loaded import Held

# Of classes that do not fit, those that an error names.
_SHOWN = 5


class Weights:
    """Weights as the recipe names them, read once; `classes` are the dataset's.

    `shape` is the family's shape of the heads; `held` keeps the model in use, and may be shared.
    Raises CheckpointError for a file that cannot be used, UsageError for classes that do not fit.
    """

    def __init__(self, recipe: Recipe, classes: Sequence[str], held: Held | None = None) -> None:
        assert recipe.model.weights is not None
        self.random = recipe.model.weights == RANDOM_WEIGHTS
        self.device = resolve_device(recipe.device)
        self.precision = recipe.precision
        self.entry = entry(recipe.model.name)
        self._held = held or Held()
        self._path = Path(recipe.model.weights)
        self._seed = recipe.seed
        given = recipe.model.classes
        self._map = given if isinstance(given, str) else None
        self._named = None if isinstance(given, str) else given
        self._mapped: list[str | None] = []
        self._classes = list(classes)
        self._file = None if self.random else self._adopted()
        self.shape = self._shape()
        self.label_of = self._labels()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file or of the files of a folder, or `random`."""
        return RANDOM_WEIGHTS if self.random else digest_of(self._path)

    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""
        return {
            "weights": self.digest,
            "classes": self._named if self._map is None else self._mapped,
            "device": self.device.type,
            "precision": self.precision,
            **self.entry.family.measured_setting(self.shape),
        }

    def notes(self) -> list[str]:
        """Return what a reader of the results must know of the weights."""
        if self._file is None:
            return [
                f"Weights are drawn from seed {self._seed} by torch {torch.__version__}; another "
                "torch may draw others."
            ]
        notes = self.entry.family.notes(self.entry.arch, self.shape, self._file)
        return [*notes, *self._file.remarks]

    def model(self, geometry: Geometry) -> Model:
        """Return the model for an input, loaded strictly, in evaluation mode.

        It is held until another one is asked for; then it is freed, unless somebody else holds it.
        """
        return self._held.get((id(self), geometry), lambda: self._built(geometry))

    def _built(self, geometry: Geometry) -> Model:
        model = geometry.family.build(geometry.arch, self.shape, geometry.input, seed=self._seed)
        if self._file is not None:
            load_into(model, self._file.tensors, self._path)
        model.requires_grad_(False).eval()
        return model.to(self.device, DTYPES[self.precision])

    def _adopted(self) -> WeightsFile:
        return self.entry.family.adopted(self.entry.arch, read_weights(self._path, self._classes))

    def _shape(self) -> Any:
        family, arch = self.entry.family, self.entry.arch
        if self._file is None:
            return family.random_shape(arch, len(self._named or self._classes))
        return family.shape_of(arch, self._file)

    def _by_map(self, name: str, said: Sequence[str | None] | None) -> list[str | None]:
        if said is None:
            raise UsageError(
                f"model.classes: {name} needs weights that name their classes; these do not",
                remedy="list the dataset's class that each stands for, null for none",
            )
        return mapped(name, said, self._classes)

    def _unlike(self, said: Sequence[str | None], strange: Sequence[str]) -> UsageError:
        """Return what to say of weights whose classes are not the dataset's."""
        maps = fitting(said, self._classes)
        shown = ", ".join(strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
        return UsageError(
            f"the weights name {counted(len(strange), 'class', 'classes')} that the dataset does "
            f"not have ({shown})",
            remedy=f"give model.classes: {' or '.join(maps)}"
            if maps
            else "say in model.classes which of the dataset's each stands for, null for none",
        )

    def _labels(self) -> tuple[int | None, ...]:
        """Return, for every class of the model, the dataset's class or None."""
        said = None if self._file is None else self.entry.family.class_names(self.shape, self._file)
        if self._map is not None:
            self._mapped = self._by_map(self._map, said)
        names = self._mapped or self._named or said or self._classes
        strange = [name for name in names if name is not None and name not in self._classes]
        if strange and said is not None and names is said:
            raise self._unlike(said, strange)
        for name in strange:
            raise UsageError(f"model.classes: {unknown('class', name, self._classes)}")
        if len(names) != self.shape.classes:
            raise UsageError(
                f"the weights have {self.shape.classes} classes, not {len(names)} "
                f"({', '.join(str(name) for name in names)})",
                remedy="say in model.classes which of the dataset's each stands for, null for none",
            )
        return tuple(None if name is None else self._classes.index(name) for name in names)
