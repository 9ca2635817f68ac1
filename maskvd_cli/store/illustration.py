"""What a run keeps for pictures: its heatmap with one static mask, and one frame with its masks.

`heatmap.npz` is a heatmap file as `maskvd heatmap` writes it, with two arrays more. Reports draw
from these two files and need neither the dataset nor the model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError, field_validator

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.size import Size
from maskvd_cli.store.arrays import load_heatmap, read_metadata, save_arrays
from maskvd_cli.store.reading import is_regular, read_regular
from maskvd_cli.store.runs import NewerResultError, Run
from maskvd_cli.store.schema import Count, Real, Stored

HEATMAP, ILLUSTRATION = "heatmap.npz", "illustration.npz"
ILLUSTRATION_VERSION = 1
# A picture wider than any column; a frame of this size stays below a megabyte uncompressed.
MOST_PIXELS = 320_000
_MOST_BYTES = 1 << 26
_MOST_FILE = 1 << 31
_REMEDY = "remove it and sweep again"


class ShownMask(Stored):
    """Which point a stored mask is of, and how frames lie in the input (sizes rows x columns)."""

    model_config = ConfigDict(extra="ignore")

    version: Count = Field(default=ILLUSTRATION_VERSION, alias="illustration")
    key: str
    label: str
    static_keep_rate: Real
    content: str
    input: str
    patch: int = Field(ge=1, le=1024)

    @field_validator("content", "input")
    @classmethod
    def _is_a_size(cls, text: str) -> str:
        return str(Size.parse(text))

    @property
    def grid(self) -> Size:
        """The token grid."""
        return Size.parse(self.input).tiles(self.patch)

    @property
    def content_size(self) -> Size:
        """The part of the input that the frame covers, in pixels."""
        return Size.parse(self.content)


class ShownFrame(ShownMask):
    """Which frame is shown, whose boxes made its mask, and why there is no image, where none is."""

    clip: str
    frame: int
    position: Count
    period: Count
    score_threshold: Real
    margin: Count
    boxes_from: Literal["model", "labels"]
    no_image: str | None


@dataclass(frozen=True, eq=False)
class StoredHeatmap:
    """`counts` (canvas rows, cols) float64; `scores` float64 and `static` bool, token rows, cols.

    `made_from`: the heatmap's own metadata.
    """

    counts: NDArray[np.float64]
    scores: NDArray[np.float64]
    static: NDArray[np.bool_]
    shown: ShownMask
    made_from: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Illustration:
    """One masked frame of a point.

    `image` (rows, cols, 3) uint8 RGB, None where no images were read; `boxes` (n, 4) float64 xyxy
    in input pixels, those of the frame before that make the dynamic mask; `static`, `dynamic` and
    `combined` bool, token rows x columns.
    """

    image: NDArray[np.uint8] | None
    boxes: NDArray[np.float64]
    static: NDArray[np.bool_]
    dynamic: NDArray[np.bool_]
    combined: NDArray[np.bool_]
    shown: ShownFrame


def write_heatmap(run: Run, stored: StoredHeatmap) -> None:
    """Write a run's `heatmap.npz`."""
    arrays = {"heatmap": stored.counts, "scores": stored.scores, "mask": stored.static}
    shown = stored.shown.model_dump(mode="json", by_alias=True)
    save_arrays(run.folder / HEATMAP, arrays, {**stored.made_from, "static_mask": shown})


def read_heatmap(run: Run) -> StoredHeatmap | None:
    """Return what `heatmap.npz` holds, None where it is absent.

    Raises ResultError for a damaged file, NewerResultError for one of a newer maskvd.
    """
    path = run.folder / HEATMAP
    if not is_regular(path):
        return None
    counts, metadata = load_heatmap(path)
    shown = _facts(ShownMask, metadata.get("static_mask"), path)
    arrays, _ = _load(path)
    scores = _array(arrays, "scores", shown.grid, "f", path)
    made_from = {name: value for name, value in metadata.items() if name != "static_mask"}
    return StoredHeatmap(counts, scores, _mask(arrays, "mask", shown, path), shown, made_from)


def write_illustration(run: Run, made: Illustration) -> None:
    """Write a run's `illustration.npz`."""
    arrays: dict[str, NDArray[Any]] = {
        "boxes": made.boxes, "static": made.static, "dynamic": made.dynamic,
        "combined": made.combined,
    }  # fmt: skip
    if made.image is not None:
        arrays["image"] = made.image
    save_arrays(
        run.folder / ILLUSTRATION, arrays, made.shown.model_dump(mode="json", by_alias=True)
    )


def read_illustration(run: Run) -> Illustration | None:
    """Return what `illustration.npz` holds, None where it is absent.

    Raises ResultError for a damaged file, NewerResultError for one of a newer maskvd.
    """
    path = run.folder / ILLUSTRATION
    if not is_regular(path):
        return None
    arrays, metadata = _load(path)
    shown = _facts(ShownFrame, metadata, path)
    image, boxes = arrays.get("image"), arrays.get("boxes")
    if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
        raise _damaged(path, "image is no rows x columns x 3 of uint8")
    if boxes is None or boxes.dtype != np.float64 or boxes.shape[1:] != (4,):
        raise _damaged(path, "boxes are no n x 4 of float64")
    if not np.isfinite(boxes).all():
        raise _damaged(path, "a box has a corner that is no number")
    static, dynamic, combined = (
        _mask(arrays, name, shown, path) for name in ("static", "dynamic", "combined")
    )
    return Illustration(image, boxes, static, dynamic, combined, shown)


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the small arrays of a file and its metadata; the heatmap itself is left out."""
    try:
        content = io.BytesIO(read_regular(path, _MOST_FILE))
        with zipfile.ZipFile(content) as archive:
            small = [entry for entry in archive.infolist() if entry.filename != "heatmap.npy"]
            if sum(entry.file_size for entry in small) > _MOST_BYTES:
                raise ValueError("more than 64 MiB when unpacked")
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files if name != "heatmap"}
            names = set(file.files) - {"metadata"}
        text = str(arrays.pop("metadata"))
        return arrays, read_metadata(text, arrays, names)
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged files
        raise _damaged(path, " ".join(str(error).split()) or type(error).__name__) from error


T = TypeVar("T", bound=ShownMask)


def _facts(kind: type[T], metadata: object, path: Path) -> T:
    version: object = metadata.get("illustration") if isinstance(metadata, dict) else None  # pyright: ignore
    if isinstance(version, int) and version > ILLUSTRATION_VERSION:
        raise NewerResultError(
            f"written by a newer maskvd (version {version}, this one reads {ILLUSTRATION_VERSION})",
            where=path,
            remedy="upgrade maskvd",
        )
    try:
        return kind.model_validate(metadata)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "metadata"
        raise _damaged(path, f"{key}: {first['msg']}") from error


def _mask(
    arrays: Mapping[str, NDArray[Any]], name: str, shown: ShownMask, path: Path
) -> NDArray[np.bool_]:
    return _array(arrays, name, shown.grid, "b", path)


def _array(
    arrays: Mapping[str, NDArray[Any]], name: str, grid: Size, kind: str, path: Path
) -> NDArray[Any]:
    found = arrays.get(name)
    if found is None or found.shape != grid or found.dtype.kind != kind:
        raise _damaged(path, f"array {name} does not lie on the {grid} tokens of the input")
    if kind == "f" and not np.isfinite(found).all():
        raise _damaged(path, f"array {name} holds what is no number")
    return found


def _damaged(path: Path, reason: str) -> ResultError:
    return ResultError(f"damaged result file ({reason})", where=path, remedy=_REMEDY)
