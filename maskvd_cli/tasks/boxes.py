"""Detections and objects of a clip as arrays, boxes x, y, width, height in native pixels.

A detection takes 26 bytes. Boxes are rounded to a thousandth of a pixel and scores to a millionth,
as decimals; float32 holds such boxes up to 16,384 pixels and such scores exactly, so reading them
back gives the rounded decimals to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.matching import Rows, iou

if TYPE_CHECKING:
    from maskvd_cli.tasks.detections import Detections

Arrays = Mapping[str, NDArray[Any]]
_BOX_DIGITS, _SCORE_DIGITS = 3, 6


def truth_arrays(clip: Clip) -> dict[str, NDArray[Any]]:
    """Return a clip's boxes: `frame`, `label` (-1 in regions to ignore), `ignore`, `box` float64.

    `index` (frames,) are the frames' numbers in the video, `size` (frames, 2) rows and columns.
    """
    boxes = [frame.boxes for frame in clip.frames]
    corners = np.concatenate([np.zeros((0, 4)), *(found.xyxy for found in boxes)])
    numbers = np.repeat(np.arange(len(boxes)), [len(found) for found in boxes])
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(found.labels for found in boxes)])
    ignore = np.concatenate([np.zeros(0, dtype=np.bool_), *(found.ignore for found in boxes)])
    return {
        "frame": numbers.astype(np.int32),
        "label": np.where(ignore, -1, labels).astype(np.int16),
        "ignore": ignore,
        "box": _sides(corners),
        "index": np.array([frame.index for frame in clip.frames], dtype=np.int64),
        "size": np.array([frame.size for frame in clip.frames], dtype=np.int32).reshape(-1, 2),
    }


def output_arrays(
    outputs: Sequence[Detections], placed: Placement, label_of: Sequence[int | None]
) -> dict[str, NDArray[Any]]:
    """Return detections of a clip's frames, on the CPU in input pixels, as arrays of native pixels.

    `label_of` gives the dataset's class for each of the detector's; detections of one that has none
    are left out.
    """
    scale = np.array([placed.col_scale, placed.row_scale] * 2)
    known = known_labels(label_of)
    frames: list[NDArray[Any]] = [np.zeros(0, dtype=np.int32)]
    labels: list[NDArray[Any]] = [np.zeros(0, dtype=np.int16)]
    boxes: list[NDArray[Any]] = [np.zeros((0, 4), dtype=np.float32)]
    scores: list[NDArray[Any]] = [np.zeros(0, dtype=np.float32)]
    for number, found in enumerate(outputs):
        label = known[found.labels.numpy()]
        native = (found.xyxy.double().numpy() / scale)[label >= 0]
        frames.append(np.full(len(native), number, dtype=np.int32))
        labels.append(label[label >= 0].astype(np.int16))
        boxes.append(_rounded(_sides(native), _BOX_DIGITS))
        scores.append(_rounded(found.scores.double().numpy()[label >= 0], _SCORE_DIGITS))
    parts = {"frame": frames, "label": labels, "box": boxes, "score": scores}
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def known_labels(label_of: Sequence[int | None]) -> NDArray[np.int64]:
    """Return the dataset's class of each of the detector's, -1 for none."""
    return np.array([-1 if label is None else label for label in label_of], dtype=np.int64)


def _rounded(values: NDArray[np.float64], digits: int) -> NDArray[np.float32]:
    # Python rounds decimals right where numpy's detour over a product does not.
    rounded = [round(value, digits) for value in values.ravel().tolist()]
    return np.array(rounded, dtype=np.float32).reshape(values.shape)


def decimals(values: NDArray[Any], digits: int) -> NDArray[np.float64]:
    """Return rounded numbers to the last digit; what was not stored as float32 stays as it is."""
    exact = values.astype(np.float64)
    if values.dtype != np.float32:
        return exact
    return np.rint(exact * 10**digits) / 10**digits


def output_rows(outputs: Arrays) -> tuple[Rows, NDArray[np.float64]]:
    """Return the boxes of stored outputs and their scores (n,)."""
    rows = Rows(
        outputs["frame"].astype(np.int64),
        outputs["label"].astype(np.int64),
        decimals(outputs["box"], _BOX_DIGITS),
    )
    return rows, decimals(outputs["score"], _SCORE_DIGITS)


def overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersections over unions (n, m) of boxes (n, 4) and (m, 4), xyxy.

    As detections are scored; boxes without area overlap nothing.
    """
    ours, theirs = _sides(first), _sides(second)
    pairs = iou(np.repeat(ours, len(theirs), axis=0), np.tile(theirs, (len(ours), 1)))
    return pairs.reshape(len(ours), len(theirs))


def _sides(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes xyxy as x, y, width, height."""
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def truth_rows(truth: Arrays) -> tuple[Rows, Rows]:
    """Return the objects of a stored truth, and its regions to ignore."""
    rows = Rows(
        truth["frame"].astype(np.int64), truth["label"].astype(np.int64), truth["box"].astype(float)
    )
    ignore = truth["ignore"].astype(np.bool_)
    return rows.at(~ignore), rows.at(ignore)
