"""The spatial model of a recogniser, frozen, and run by a method: the features of every step.

What follows it is tuned on these features alone, so that they are computed once. The protocol is
that of arXiv 2308.13494 (ICCV 2023) for factorised encoders.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.point import label_of
from maskvd_cli.data import resize
from maskvd_cli.families import preprocess
from maskvd_cli.families.zoo import entry
from maskvd_cli.methods.base import ClipView, Method, Params
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.fit import fitted
from maskvd_cli.methods.registry import methods
from maskvd_cli.training.features import StoredFeatures
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.loading import PlacedLooks, batches
from maskvd_cli.training.recipe import MethodSection, TrainingRecipe

# What a recogniser's temporal model and classifier never reach.
_FROZEN = ("embedding.", "backbone.")
# Whose features are kept.
LEARNT, EVALUATED = "learnt", "evaluated"


@dataclass(frozen=True)
class SpatialRun:
    """A recogniser whose spatial model a method runs; `params` as resolved on its backbone.

    `weights`: sha256 of the recogniser's file. `kept`: the features of the videos that are learnt
    and of those that are evaluated, once they were computed.
    """

    model: Any
    method: type[Method[Any]]
    params: Params
    weights: str
    kept: dict[str, StoredFeatures] = field(default_factory=dict[str, StoredFeatures])

    def facts(self) -> dict[str, Any]:
        """Return what decides the features beside model and videos, as JSON values."""
        facts = {
            "method": self.method.name,
            "revision": self.method.revision,
            "params": self.params.told(),
        }
        own = dict(self.method.own_weights(self.params, self.model.arch))
        return {**facts, "own_weights": own} if own else facts

    def told(self) -> str:
        """Return the method with what differs from its defaults, in words."""
        defaults = type(self.params).model_construct().told()
        own = {
            name: value
            for name, value in self.params.told().items()
            if value is not None and (name not in defaults or value != defaults[name])
        }
        return label_of(self.method.name, own)

    def compute(  # noqa: PLR0913, PLR0917 - what is computed, where it is kept, and who hears of it
        self,
        listed: LookList,
        geometry: TrainingInput,
        folder: Path,
        part: str,
        heard: Callable[[int, int], object],
        workers: int = 0,
    ) -> None:
        """Compute what `folder` does not hold yet of all looks at all videos of a list.

        `part` names the list. `heard` gets how many of its videos are done. `workers` processes
        read or render the frames.
        """
        placed = PlacedLooks(listed, geometry)

        def made(videos: range) -> Iterator[Tensor]:
            for (looks,) in batches(placed, videos, 1, workers=workers):
                yield self.features(looks)

        key = self._key(listed, geometry)
        store = StoredFeatures(folder, key, len(listed), self._shape(listed))
        store.complete(made, heard)
        self.kept[part] = store

    @torch.inference_mode()
    def features(self, looks: Tensor) -> Tensor:
        """Return the features (looks, steps, D) of all looks at a video, float32, on the CPU.

        `looks`: their frames (looks, frames, 3, rows, cols), as at test.
        """
        method = self.method(self.params, self.model.backbone)
        return torch.stack([self._of_look(method, look) for look in looks])

    def _of_look(self, method: Method[Any], look: Tensor) -> Tensor:
        size, arch = self.model.input_size, self.model.arch
        steps = list(look.unflatten(0, (arch.looks.steps, arch.looks.tubelet)))
        clip = ClipInput("", steps, ClipView(len(steps), size, arch.patch), size, False)
        results = run_clip(self.model, method, clip)
        return torch.stack([result.output.features for result in results]).float().cpu()

    def _shape(self, listed: LookList) -> tuple[int, int, int]:
        return listed.looks.count, listed.looks.steps, self.model.arch.dim

    def _key(self, listed: LookList, geometry: TrainingInput) -> dict[str, Any]:
        """Return everything that decides the features of a list, as JSON values."""
        family, dataset = entry(self.model.arch.name).family, listed.dataset
        names = hashlib.sha256("\n".join(clip.name for clip in listed.videos).encode())
        return {
            **self.facts(),
            "model": family.setting(self.model.arch),
            "weights": self.weights,
            "input": str(geometry.input),
            "device": next(self.model.parameters()).device.type,
            "dataset": [dataset.name, dataset.split, dataset.protocol],
            "annotations": listed.fingerprint,
            "videos": names.hexdigest(),
            "images": dataset.image_fingerprint(listed.videos),
            "revisions": [family.revision, preprocess.REVISION, resize.REVISION],
        }


def spatial_of(section: MethodSection, model: Any, weights: str) -> SpatialRun:
    """Return how a recipe's method runs the spatial model, which learns nothing from now on.

    Raises UsageError where the method cannot run on it, or needs what a video does not tell.
    """
    method = methods.load(section.name)
    params = method.params_type.model_validate_json(json.dumps(section.settings))
    params = fitted(method, params, model.arch)
    if method.needs_truth or method.needs_heatmap(params):
        raise UsageError(
            f"{section.name} needs boxes, and videos of actions have none",
            remedy="choose another method",
        )
    for name, parameter in model.named_parameters():
        if name.startswith(_FROZEN):
            parameter.requires_grad_(False)
    return SpatialRun(model, method, params, weights)


def check_spatial(run: SpatialRun, fresh: Sequence[str], recipe: TrainingRecipe) -> None:
    """Raise UsageError where the spatial model starts anew, or could not be stored as it is.

    `fresh`: the parameters that the initial weights did not give.
    """
    if anew := [name for name in fresh if name.startswith(_FROZEN)]:
        raise UsageError(
            f"{anew[0]} of the spatial model would start anew, and it learns nothing here",
            remedy="let allow_missing name temporal.* and classifier.* alone",
        )
    if recipe.export != "float16":
        return
    for name, value in run.model.state_dict().items():
        if name.startswith(_FROZEN) and not torch.equal(value.half().float(), value.float()):
            raise UsageError(
                f"export float16 would change {name} of the spatial model, whose features are "
                "learnt from",
                remedy="set export: float32",
            )
