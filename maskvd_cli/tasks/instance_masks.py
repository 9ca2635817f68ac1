"""Instance masks: detections with their pixels, scored by COCO's AP on the masks of each frame.

Everything is detection's but what overlaps: intersections over unions are those of pixels. Regions
to ignore are silhouettes, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.boxes import known_labels, output_arrays, output_rows
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.quantities import INSTANCE_MASKS
from maskvd_cli.tasks.silhouette_arrays import (
    SIZE,
    SilhouetteOverlaps,
    packed,
    truth_silhouettes,
    unpacked,
)
from maskvd_cli.tasks.tracks import ClipTracks, TrackEvaluation, annotated, linked, tracked

if TYPE_CHECKING:
    from maskvd_cli.tasks.instances import Instances


class InstanceMasks(Detection):
    """Masks of objects in every frame. Outputs are `Instances`, on the CPU in input pixels."""

    name: ClassVar[str] = "instance-masks"
    description: ClassVar[str] = "masks of objects in every frame, scored by COCO's mask AP"
    has_silhouettes: ClassVar[bool] = True
    has_tracks: ClassVar[bool] = True
    quantities: ClassVar[tuple[Quantity, ...]] = INSTANCE_MASKS

    def truth(self, clip: Clip, classes: Sequence[str]) -> Arrays:
        """Return a clip's boxes as detection does, their silhouettes (see `packed`) and tracks.

        `track` (n,) int64, -1 for none. Raises UsageError for a clip without silhouettes.
        """
        tracks = [frame.boxes.track_ids for frame in clip.frames]
        return {
            **super().truth(clip, classes),
            **truth_silhouettes(clip),
            "track": np.concatenate([np.zeros(0, dtype=np.int64), *tracks]),
        }

    def native(self, output: Any, placed: Placement) -> Any:
        """Return the detections with boxes and regions in the frame's own pixels."""
        scale = output.xyxy.new_tensor([placed.col_scale, placed.row_scale] * 2)
        return replace(output, xyxy=output.xyxy / scale, regions=output.regions / scale)

    def encode(
        self, outputs: Sequence[Any], placed: Placement, label_of: Sequence[int | None]
    ) -> Arrays:
        """Return what detection does, with the silhouettes in the frame's own pixels; see `packed`.

        `silhouette_size` (2,) rows and columns of the frames. Where a pixel lies in a mask with at
        least even odds, it belongs to it; masks may overlap each other.
        """
        size, known = _native(placed), known_labels(label_of)
        made: list[Silhouette] = []
        for output in outputs:
            made += _silhouettes(self.native(output, placed), known, size)
        arrays = output_arrays(outputs, placed, label_of)
        return {**arrays, **packed(made), SIZE: np.array(size, dtype=np.int32)}

    def overlaps(self, truth: Arrays, outputs: Arrays) -> SilhouetteOverlaps:
        """Return how much masks overlap. Raises ValueError for masks of other frames."""
        ignore = truth["ignore"].astype(np.bool_)
        own, theirs = outputs["frame"].astype(np.int64), truth["frame"].astype(np.int64)
        found, known = _made(truth, outputs)
        return SilhouetteOverlaps(
            found,
            [known[row] for row in np.flatnonzero(~ignore)],
            [known[row] for row in np.flatnonzero(ignore)],
            (own, theirs[~ignore], theirs[ignore]),
        )

    def tracking(
        self, clips: Iterable[tuple[Arrays, Arrays]], classes: Sequence[str]
    ) -> TrackEvaluation:
        """Return the evaluation of tracks; how detections are linked, is told in `tasks.tracks`."""
        return tracked((_tracks(truth, outputs) for truth, outputs in clips), classes)


def _made(truth: Arrays, outputs: Arrays) -> tuple[list[Silhouette], list[Silhouette]]:
    """Return the silhouettes of outputs and truth. Raises ValueError for masks of other frames."""
    sizes = truth["size"]
    if (sizes != outputs[SIZE]).any():
        raise ValueError("masks are of another size than the truth's frames")
    return unpacked(outputs, sizes[outputs["frame"]]), unpacked(truth, sizes[truth["frame"]])


def _tracks(truth: Arrays, outputs: Arrays) -> ClipTracks:
    found, known = _made(truth, outputs)
    rows, score = output_rows(outputs)
    frame, label = (truth[name].astype(np.int64) for name in ("frame", "label"))
    ignore = truth["ignore"].astype(np.bool_)
    return ClipTracks(
        annotated(frame, label, truth["track"], ignore, known),
        linked(rows.frame, rows.label, score, found),
    )


def _native(placed: Placement) -> Size:
    """Return the size of the frames themselves."""
    if placed.native is not None:
        return placed.native
    content = placed.content
    return Size(round(content.rows / placed.row_scale), round(content.cols / placed.col_scale))


def _silhouettes(output: Instances, known: NDArray[Any], size: Size) -> list[Silhouette]:
    """Return the silhouettes of an output in native pixels, of classes that the dataset has."""
    # Only here: importing a task must not load torch.
    import torch  # noqa: PLC0415

    from maskvd_cli.tasks.pasting import pasted  # noqa: PLC0415

    kept = torch.from_numpy(known[output.labels.numpy()] >= 0)
    return silhouettes.encoded(pasted(output.inside[kept], output.regions[kept], size))
