"""Predictions and truth as runs of before schema 5 list them, checked row by row.

Both are COCO's lists, boxes xywh in native pixels. What passes here can be matched and scored
without a further look at types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

# pydantic reads annotations of this one alone below Python 3.12.
from typing_extensions import TypedDict

from maskvd_cli.store.schema import Count

_CONFIG = ConfigDict(strict=True, extra="ignore")
# Areas of such boxes and their sums stay finite.
_Coordinate = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
_Box = Annotated[list[_Coordinate], Field(min_length=4, max_length=4)]
_Score = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]


class ListedResult(TypedDict):
    """One detection."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    image_id: Count
    category_id: Count
    bbox: _Box
    score: _Score


class FrameAge(TypedDict):
    """How many frames ago the last full one was."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    image_id: Count
    age: Count


class Predictions(TypedDict):
    """All detections of a point, and the age of every frame."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    frames: list[FrameAge]
    results: list[ListedResult]


class ListedImage(TypedDict):
    """One frame of a clip."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    id: Count
    clip: str
    frame: Count
    height: Count
    width: Count


class ListedAnnotation(TypedDict):
    """One annotated object, or a region to ignore (`iscrowd` 1)."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    id: Count
    image_id: Count
    category_id: Count
    area: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e18)]
    bbox: _Box
    iscrowd: Annotated[int, Field(ge=0, le=1)]


class ListedCategory(TypedDict):
    """One class."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    id: Count
    name: str


class Truth(TypedDict):
    """What predictions are scored against."""

    __pydantic_config__ = _CONFIG  # pyright: ignore[reportGeneralTypeIssues]
    images: list[ListedImage]
    annotations: list[ListedAnnotation]
    categories: list[ListedCategory]


_PREDICTIONS, _TRUTH = TypeAdapter(Predictions), TypeAdapter(Truth)


def checked_predictions(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return predictions whose rows are all as they should be; raises ValueError naming the key."""
    return _checked(_PREDICTIONS, data)


def checked_truth(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a truth whose rows are as they should be and refer to each other.

    Raises ValueError for another type, an id that stands twice, and a row of no image or class.
    """
    truth = _checked(_TRUTH, data)
    known = {name: _ids(truth, name) for name in ("images", "annotations", "categories")}
    _refer(truth["annotations"], known["images"], known["categories"])
    return truth


def check_fit(truth: Mapping[str, Any], predictions: Mapping[str, Any]) -> None:
    """Raise ValueError where predictions are not of the truth's frames and classes."""
    images, categories = _ids(truth, "images"), _ids(truth, "categories")
    _refer(predictions["results"], images, categories)
    frames = [frame["image_id"] for frame in predictions["frames"]]
    if len(frames) != len(images) or set(frames) != images:
        raise ValueError("frames are not those of the truth")


def _checked(adapter: TypeAdapter[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], adapter.validate_python(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key}: {first['msg']}") from error


def _ids(truth: Mapping[str, Any], name: str) -> set[int]:
    numbers = [row["id"] for row in truth[name]]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name}: an id stands twice")
    return set(numbers)


def _refer(rows: list[dict[str, Any]], images: set[int], categories: set[int]) -> None:
    for row in rows:
        if row["image_id"] not in images:
            raise ValueError(f"there is no image {row['image_id']}")
        if row["category_id"] not in categories:
            raise ValueError(f"there is no class {row['category_id']}")
