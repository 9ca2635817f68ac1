"""Weights that a method brings, learnt and evaluated beside the detector."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import TrainableModel
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.methods.base import FrameContext, Method
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.learning import Learner
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.selectors import drawn, noise_from
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.training.loading import Sample
from maskvd_cli.training.recipe import MethodSection, TrainingRecipe

# Parts of what is learnt.
OWN, DETECTOR = "own", "detector"


def learner_of(section: MethodSection, arch: ViTArch) -> Learner[Any]:
    """Return what learns the weights of a recipe's method.

    Raises UsageError where the method cannot run on the backbone, or brings no weights.
    """
    method = methods.load(section.name)
    if (reason := unlike(method, arch)) is not None:
        raise UsageError(reason, remedy="train it beside another model")
    if method.learner is None:
        raise UsageError(f"{section.name} has no weights of its own", remedy="leave method out")
    settings = method.learner.settings_type.model_validate_json(json.dumps(section.settings))
    return method.learner(method, settings, arch)


def beside(
    learner: Learner[Any], detector: TrainableModel, recipe: TrainingRecipe
) -> nn.ModuleDict:
    """Return all that is learnt: weights drawn from the recipe's seed, and the detector if it does.

    A frozen detector asks for no gradients afterwards.
    """
    own = drawn(learner.new_module, recipe.seed)
    assert recipe.method is not None
    if recipe.method.frozen:
        detector.requires_grad_(False)
        return nn.ModuleDict({OWN: own})
    return nn.ModuleDict({OWN: own, DETECTOR: detector})


def rates_of(recipe: TrainingRecipe) -> dict[str, float] | None:
    """Return the share of the learning rate that each part learns with; None: all the same."""
    if recipe.method is None or recipe.method.frozen:
        return recipe.optimiser.rates or None
    return {f"{OWN}.": 1.0, f"{DETECTOR}.": recipe.method.detector_rate}


def losses_beside(
    learner: Learner[Any],
    own: nn.Module,
    detector: TrainableModel,
    sequences: Sequence[Sequence[Sample]],
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the detector's losses on all frames with the method's own, and what blocks kept.

    `sequences`: of each clip as many frames as the learner wants, the earliest first. All that is
    drawn comes from `generator`.
    """
    frames = list(zip(*sequences, strict=True))
    embedded = [detector.embed([pixels for pixels, _ in samples]) for samples in frames]
    noise = noise_from(generator, embedded[0].device)
    done = learner.run(own, detector.backbone, embedded, detector.grid, noise)
    targets = [objects for samples in frames for _, objects in samples]
    losses = detector.head_losses(torch.cat(list(done.features)), targets, generator)
    kept = {f"block {number}": float(share.detach()) for number, share in sorted(done.kept.items())}
    return {**losses, **done.losses}, kept


class Beside:
    """Detects in the last frame of short clips with a method; counts what its blocks compute."""

    def __init__(self, method: Method[Any], detector: TrainableModel) -> None:
        self.method, self.detector = method, detector
        self.frames = 0
        self._computed: Counter[int] = Counter()

    @torch.no_grad()
    def __call__(self, clips: Sequence[Sequence[Tensor]]) -> list[Detections]:
        """Return the detections in the last frame of each clip, pixels (3, rows, cols) uint8."""
        return [self._last(clip) for clip in clips]

    def _last(self, clip: Sequence[Tensor]) -> Detections:
        self.method.reset()
        features = None
        for index, pixels in enumerate(clip):
            size, patch = self.detector.input_size, self.detector.arch.patch
            frame = FrameContext(index, size, Size(*pixels.shape[1:]), patch)
            features = self.method.step(self.detector.embed([pixels]), frame)
        assert features is not None and self.method.trace is not None
        self.frames += 1
        self._computed.update(dict(enumerate(self.method.trace.layers)))
        return self.detector.finish(features)[0]

    def kept(self) -> list[float]:
        """Return the share of tokens that each block computed, a mean over the last frames."""
        tokens = max(self.frames, 1) * self.detector.grid.area
        return [computed / tokens for _, computed in sorted(self._computed.items())]
