"""Run a point and the baseline beside it over a clip; one shot for every frame, with all it shows.

The running cost is `gmacs` of the backbone, the counter of matrix products, from the closed forms
at the tokens that were recomputed, or counted where a method has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.film.footage import Footage, Image
from maskvd_cli.film.kept import Kept, kept_tokens
from maskvd_cli.film.misses import Fate, Labelled, fates
from maskvd_cli.methods.base import FrameTrace, TokenTrace
from maskvd_cli.methods.clips import FrameResult, run_clip
from maskvd_cli.methods.counting import backbone_macs, watch_of
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.work.merge import GIGA
from maskvd_cli.work.plan import PointSpec, baseline_at


@dataclass(frozen=True)
class Cost:
    """GMACs of the backbone: of this frame, the mean so far, and the baseline's mean so far."""

    gmacs: float
    mean_gmacs: float
    baseline_gmacs: float


@dataclass(frozen=True)
class Shot:
    """One frame: picture, tokens, detections, objects with what became of them, and costs so far.

    Boxes are in native pixels. Without annotations the objects are what the baseline detects, so
    that no fate is BOTH. `tokens_so_far`: of this frame and all before; `missed` and `met`: objects
    missed because tokens were skipped, and all objects, so far.
    """

    position: int
    image: Image
    trace: FrameTrace
    kept: Kept
    found: Labelled
    objects: Labelled
    fates: Sequence[Fate]
    tokens_so_far: Sequence[float]
    cost: Cost
    missed: int
    met: int


def shots(task: PointSpec, scene: Scene, footage: Footage, score: float) -> Iterator[Shot]:
    """Yield a shot per frame of the footage, computed when asked for; state is kept in between.

    `score`: the least score of detections that count and are shown. Raises MaskvdError where a
    frame cannot be read or the method cannot run.
    """
    detector = scene.measured.model(scene.geometry)
    baseline = baseline_at(task.site, scene.geometry.arch)
    clip = footage.clip
    method = task.method(task.params, detector.backbone)
    own = run_clip(detector, method, clip, watch=watch_of(task.method, detector))
    beside = None
    if task != baseline:
        reference = baseline.method(baseline.params, detector.backbone)
        beside = run_clip(detector, reference, clip, watch=watch_of(baseline.method, detector))
    tokens: list[float] = []
    costs: list[tuple[float, float]] = []
    missed = met = 0
    for position, result in enumerate(own):
        reference = result if beside is None else next(beside)
        found, seen = (
            native_detections(made.output, scene, footage).above(score)
            for made in (result, reference)
        )
        objects = seen if footage.objects is None else footage.objects[position]
        judged = fates(objects, found, seen)
        missed += judged.count(Fate.MASKED)
        met += len(objects)
        tokens.append(result.trace.tokens)
        costs.append((_gmacs(task, scene, result), _gmacs(baseline, scene, reference)))
        mean, baseline_mean = np.mean(costs, axis=0).tolist()
        yield Shot(
            position, footage.stills.native(position), result.trace,
            kept_tokens(result.trace, scene.geometry.grid),
            found, objects, judged, tuple(tokens), Cost(costs[-1][0], mean, baseline_mean),
            missed, met,
        )  # fmt: skip


def _gmacs(task: PointSpec, scene: Scene, result: FrameResult) -> float:
    made = TokenTrace.of([result.trace])
    macs = task.method.macs(scene.geometry.arch, scene.geometry.grid, task.params, made)
    if macs is None:
        return (backbone_macs(result) or 0.0) / GIGA
    return float(np.asarray(macs.matrix, dtype=np.float64).reshape(-1)[0]) / GIGA


def native_detections(found: Detections, scene: Scene, footage: Footage) -> Labelled:
    """Return detections on the CPU in native pixels, under the dataset's classes.

    Those of classes that the dataset has not are left out, as when they are scored.
    """
    scale = np.array([footage.placed.col_scale, footage.placed.row_scale] * 2)
    xyxy: NDArray[np.float64] = found.xyxy.double().numpy() / scale
    class_of = [-1 if label is None else label for label in scene.measured.label_of]
    classes = np.array(class_of, dtype=np.int64)[found.labels.numpy()]
    named = classes >= 0
    return Labelled(xyxy[named], classes[named], found.scores.double().numpy()[named])
