"""Everything that a training needs, from its recipe: frames, detector, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import DatasetError, UsageError
from maskvd_cli.families.base import TrainableModel
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.methods.learning import Learner
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.training.frames import (
    FrameList,
    LookList,
    evaluation_frames,
    training_frames,
)
from maskvd_cli.training.geometry import TrainingInput, new_detector
from maskvd_cli.training.initial import Taken, freeze, load_initial
from maskvd_cli.training.learning import DETECTOR, OWN, beside, learner_of, rates_of
from maskvd_cli.training.load import LoadedTraining
from maskvd_cli.training.masking import check_maskable, training_mask
from maskvd_cli.training.optimiser import adamw, average_of
from maskvd_cli.training.recipe import FREE, TrainingRecipe
from maskvd_cli.training.records import FOLDER_VERSION
from maskvd_cli.training.reduction import ReducedDetector, Reduction
from maskvd_cli.training.schedule import Schedule
from maskvd_cli.training.spatial import SpatialRun, check_spatial, spatial_of


@dataclass(frozen=True)
class Training:
    """One training, ready to run.

    `module` is all that is learnt: the detector, or with a `learner` the weights of its method, and
    the detector too unless it is frozen. `average` holds averaged weights of it, None where the
    recipe wants none; `kept` is the static mask (N,) bool on the device, None where all tokens are
    used; `taken` tells what the initial checkpoint did not give. `reduction`: what loses tokens
    with depth, None where nothing does. `spatial`: a recogniser whose spatial model a method runs,
    frozen; what follows it learns.
    """

    loaded: LoadedTraining
    geometry: TrainingInput
    learnt: FrameList
    evaluated: FrameList
    device: torch.device
    detector: TrainableModel
    average: nn.Module | None
    optimiser: torch.optim.AdamW
    schedule: Schedule
    kept: Tensor | None
    taken: Taken
    module: nn.Module
    learner: Learner[Any] | None = None
    reduction: Reduction | None = None
    spatial: SpatialRun | None = None

    @property
    def recipe(self) -> TrainingRecipe:
        """The checked recipe."""
        return self.loaded.recipe

    @property
    def fresh(self) -> tuple[str, ...]:
        """The parameters that the initial checkpoint did not give."""
        return self.taken.fresh

    @property
    def result(self) -> TrainableModel:
        """The detector that is evaluated and exported: the averaged one where there is one."""
        averaged = self.average if self.learner is None else self._part(DETECTOR)
        return self.detector if averaged is None else cast(TrainableModel, averaged)

    @property
    def own(self) -> nn.Module:
        """The weights of the method as they learn."""
        assert isinstance(self.module, nn.ModuleDict)
        return self.module[OWN]

    @property
    def own_result(self) -> nn.Module:
        """The weights of the method that are evaluated and exported."""
        return self._part(OWN) or self.own

    def _part(self, name: str) -> nn.Module | None:
        """Return a part of the averaged weights, None where there is none."""
        average = self.average
        return average[name] if isinstance(average, nn.ModuleDict) and name in average else None

    @property
    def task(self) -> type[Task]:
        """What the model is asked for, and scored by."""
        return tasks.load(self.detector.task)

    @property
    def scores(self) -> tuple[str, str]:
        """The names of the scores that every evaluation has: the headline, and that of classes."""
        headline = self.task.headline().name
        return headline, by_class_of(headline)

    @property
    def detecting(self) -> TrainableModel | ReducedDetector:
        """What is evaluated: with the reduction on, as the training ends, if there is one."""
        return (
            self.result if self.reduction is None else ReducedDetector(self.result, self.reduction)
        )

    @property
    def autocast(self) -> bool:
        """Whether forward passes of training run in bfloat16."""
        wanted = self.recipe.precision
        return wanted == "bfloat16" or (wanted == "auto" and self.device.type == "cuda")

    @cached_property
    def init_sha256(self) -> str | None:
        """SHA-256 of the initial weights' file, None where the training begins without."""
        return None if self.recipe.init is None else sha256_of(Path(self.recipe.init))

    def identity(self, version: int = FOLDER_VERSION) -> dict[str, Any]:
        """Return all that decides the weights, as JSON values; places of files play no role.

        Version 1, of earlier folders, has the file name of initial weights in place of their
        SHA-256.
        """
        content = self.recipe.model_dump(mode="json", by_alias=True, exclude=set(FREE))
        content["dataset"].pop("root")
        if self.reduction is None:
            # Folders of before know of none.
            content.pop("reduction")
        else:
            own = self.reduction.params.model_dump(mode="json")
            revision = self.reduction.method.revision
            content["reduction"] |= {"params": own, "revision": revision}
        spatial: dict[str, Any] = {}
        if self.spatial is not None:
            spatial = {"spatial": self.spatial.facts()}
            content["method"]["settings"] = self.spatial.params.told()
        if not self.recipe.frozen:
            # Trainings of before knew no such word.
            del content["frozen"]
        if self.recipe.dropout is None:
            del content["dropout"]
        if not self.recipe.leave:
            del content["leave"]
        if not self.recipe.optimiser.rates:
            del content["optimiser"]["rates"]
        for word in ("queries", "groups"):
            if getattr(self.recipe.model, word) is None:
                del content["model"][word]
        if self.recipe.init:
            content["init"] = self.init_sha256 if version > 1 else Path(self.recipe.init).name
        return {
            **({"version": version} if version > 1 else {}),
            "recipe": content,
            "geometry": {key: value and str(value) for key, value in asdict(self.geometry).items()},
            "frames": len(self.learnt),
            "annotations": self.learnt.fingerprint,
            **spatial,
        }


def prepare(loaded: LoadedTraining, device: torch.device) -> Training:
    """Read annotations, make the detector and load its initial weights.

    Raises DatasetError, UsageError or CheckpointError.
    """
    recipe = loaded.recipe
    geometry = TrainingInput.of(recipe)
    learnt, evaluated = training_frames(recipe), evaluation_frames(recipe)
    if learnt.dataset.classes != evaluated.dataset.classes:
        raise DatasetError("its splits have different classes", where=recipe.dataset.name)
    detector = new_detector(recipe, len(learnt.dataset.classes))
    by_looks = isinstance(learnt, LookList)
    if recipe.dropout is not None:
        _set_dropout(detector, recipe, by_looks)
    learner = None
    if recipe.method is not None and not by_looks:
        learner = learner_of(recipe.method, detector.arch)
    taken = Taken()
    if recipe.init is not None:
        initial = Path(recipe.init)
        taken = load_initial(detector, initial, recipe.allow_missing, recipe.leave)
    spatial = _spatial(recipe, detector, taken.fresh) if by_looks else None
    freeze(detector, recipe.frozen)
    kept = None
    if recipe.mask is not None:
        check_maskable(detector.arch)
        rate, patch = recipe.mask.static_keep_rate, detector.arch.patch
        kept = training_mask(learnt, geometry, rate, patch).to(device)
    module = detector if learner is None else beside(learner, detector, recipe)
    detector.to(device)
    module.to(device)
    schedule = Schedule.of(recipe, len(learnt))
    reduction = None
    if recipe.reduction is not None:
        reduction = Reduction.of(recipe.reduction, detector, schedule)
    return Training(
        loaded, geometry, learnt, evaluated, device,
        detector,
        average_of(module) if recipe.ema else None,
        adamw(module, recipe.optimiser, rates_of(recipe)),
        schedule,
        kept,
        taken,
        module,
        learner,
        reduction,
        spatial,
    )  # fmt: skip


def _set_dropout(model: Any, recipe: TrainingRecipe, by_looks: bool) -> None:
    if not by_looks:
        raise UsageError(
            f"dropout is for recognisers, and {recipe.model.name} is none",
            remedy="leave dropout out",
        )
    model.dropout = recipe.dropout


def _spatial(recipe: TrainingRecipe, recogniser: Any, fresh: Sequence[str]) -> SpatialRun | None:
    """Return the recipe's method with the spatial model that it runs, None without a method."""
    if recipe.method is None:
        return None
    assert recipe.init is not None
    spatial = spatial_of(recipe.method, recogniser, sha256_of(Path(recipe.init)))
    check_spatial(spatial, fresh, recipe)
    return spatial


def by_class_of(headline: str) -> str:
    """Return the name under which the headline of each class stands."""
    return f"{headline}_by_class"
