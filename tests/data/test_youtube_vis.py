"""YouTube-VIS files that the tests make: what is read, where files lie, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import RAW, fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.data.youtube_vis import YouTubeVis

SIZE = Size(12, 16)
FILES = ["0a1b/00000.jpg", "0a1b/00005.jpg", "0a1b/00010.jpg"]


def filled(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def compressed(mask: np.ndarray) -> dict[str, Any]:
    (made,) = silhouettes.encoded([mask])
    return {"size": list(SIZE), "counts": made["counts"].decode()}


def runs(mask: np.ndarray) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return {"size": list(SIZE), "counts": counts if sum(counts) == mask.size else counts[:-1]}


FIRST, SECOND = filled(1, 2, 5, 9), filled(6, 0, 16, 4)


def document() -> dict[str, Any]:
    return {
        "info": {"year": 2021},
        "videos": [
            {"id": 7, "width": 16, "height": 12, "length": 3, "file_names": list(FILES)},
            {"id": 9, "width": 16, "height": 12, "length": 1, "file_names": ["zz/00000.jpg"]},
        ],
        "categories": [
            {"id": 26, "name": "person", "supercategory": "object"},
            {"id": 3, "name": "bird"},
        ],
        "annotations": [
            {
                "id": 40, "video_id": 7, "category_id": 26, "iscrowd": 0, "length": 3,
                "segmentations": [compressed(FIRST), None, runs(FIRST)],
                "bboxes": [[1, 2, 4, 7], None, [1, 2, 4, 7]], "areas": [28, None, 28],
            },
            {
                "id": 41, "video_id": 7, "category_id": 3, "iscrowd": 1,
                "segmentations": [None, [[6, 0, 16, 0, 16, 4, 6, 4]], compressed(SECOND)],
                "bboxes": [None, [6, 0, 10, 4], None], "areas": [None, 40, None],
            },
        ],
    }  # fmt: skip


def save(content: object, root: Path, name: str = "train.json") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def clips(root: Path, split: str = "train", protocol: str | None = None) -> list[Clip]:
    return list(YouTubeVis(root, split, protocol).clips())


def message(root: Path, split: str = "train") -> str:
    with pytest.raises(DatasetError) as caught:
        for clip in clips(root, split):
            for frame in clip.frames:
                frame.silhouettes()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_registered() -> None:
    assert datasets.load("youtube-vis") is YouTubeVis


def test_instances_are_boxes_with_tracks_and_silhouettes(tmp_path: Path) -> None:
    save(document(), tmp_path)
    first, second = clips(tmp_path)
    assert (first.name, second.name, len(first), len(second)) == ("0a1b", "zz", 3, 1)
    assert YouTubeVis(tmp_path, "train").classes == ("bird", "person")
    boxes = [frame.boxes for frame in first.frames]
    assert [found.xyxy.tolist() for found in boxes] == [
        [[1, 2, 5, 9]], [[6, 0, 16, 4]], [[1, 2, 5, 9], [6, 0, 16, 4]],
    ]  # fmt: skip
    assert [found.labels.tolist() for found in boxes] == [[1], [-1], [1, -1]]
    assert [found.track_ids.tolist() for found in boxes] == [[40], [41], [40, 41]]
    assert [found.ignore.tolist() for found in boxes] == [[False], [True], [False, True]]
    drawn = [[FIRST], [SECOND], [FIRST, SECOND]]
    for frame, masks in zip(first.frames, drawn, strict=True):
        made = frame.silhouettes()
        assert made is not None
        assert np.array_equal(silhouettes.decoded(made, SIZE), masks)
    assert second.frames[0].silhouettes() == []


def test_raw_keeps_crowds_as_objects(tmp_path: Path) -> None:
    save(document(), tmp_path)
    boxes = clips(tmp_path, protocol=RAW)[0].frames[2].boxes
    assert boxes.labels.tolist() == [1, 0] and not boxes.ignore.any()


def test_a_dropped_box_takes_its_silhouette_along(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["bboxes"][2] = [16, 2, 4, 7]
    save(content, tmp_path)
    frame = clips(tmp_path)[0].frames[2]
    assert frame.boxes.track_ids.tolist() == [41]
    made = frame.silhouettes()
    assert made is not None
    assert np.array_equal(silhouettes.decoded(made, SIZE), [SECOND])


def test_silhouettes_decide_the_fingerprint(tmp_path: Path) -> None:
    content = document()
    save(content, tmp_path / "a")
    content["annotations"][0]["segmentations"][0] = compressed(filled(1, 2, 5, 8))
    save(content, tmp_path / "b")
    made = [fingerprint(("x",), clips(tmp_path / name)) for name in ("a", "a", "b")]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("split", "file", "images"),
    [
        ("train", "train.json", "train/JPEGImages"),
        ("train", "train/instances.json", "train/JPEGImages"),
        ("train", "annotations/train.json", "JPEGImages"),
        ("valid", "val.json", "val/JPEGImages"),
        ("valid_sub", "annotations/instances_val_sub.json", "train/JPEGImages"),
        ("train_sub", "train_sub.json", "train/JPEGImages"),
    ],
)
def test_files_lie_where_projects_put_them(
    tmp_path: Path, split: str, file: str, images: str
) -> None:
    named = save(document(), tmp_path, file)
    folder = tmp_path / images / "0a1b"
    folder.mkdir(parents=True)
    Image.new("RGB", (16, 12), (9, 200, 30)).save(folder / "00005.jpg")
    before = sorted(tmp_path.rglob("*"))
    for root in (tmp_path, named):
        dataset = YouTubeVis(root, split)
        absent, present, _ = next(iter(dataset.clips())).frames
        assert dataset.image(present).shape == (12, 16, 3)
        with pytest.raises(DatasetError, match=r"0a1b/00000\.jpg"):
            dataset.image(absent)
    assert sorted(tmp_path.rglob("*")) == before


def test_splits_without_public_annotations_are_told(tmp_path: Path) -> None:
    content: dict[str, Any] = {**document(), "annotations": None}
    file = save(content, tmp_path, "valid.json")
    expected = (
        f"{file}: holds no annotations: those of valid and test are not public; use another split, "
        "such as train or valid_sub (dataset.split)"
    )
    assert message(tmp_path, "valid") == expected
    del content["annotations"]
    save(content, tmp_path, "valid.json")
    assert message(tmp_path, "valid") == expected


def test_an_absent_file_is_told_with_the_names_that_were_tried(tmp_path: Path) -> None:
    told = message(tmp_path, "valid")
    assert told.startswith(f"{tmp_path}: no annotations of split 'valid'; expected one of valid.")
    assert "val/instances.json" in told


Change = Callable[[dict[str, Any]], object]


def in_first(key: str, value: Any) -> Change:
    return lambda content: content["annotations"][0].__setitem__(key, value)


def at_first(value: Any) -> Change:
    return lambda content: content["annotations"][0]["segmentations"].__setitem__(0, value)


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (lambda c: c.pop("videos"), "videos", "is missing"),
        (lambda c: c.update(videos=[]), "videos", "the list is empty"),
        (lambda c: c["videos"][1].update(id=7), "videos.1.id", "7 is already the id of videos.0"),
        (lambda c: c["videos"][0].update(height=0), "videos.0.height", "greater than or equal to"),
        (
            lambda c: c["videos"][0]["file_names"].__setitem__(1, "../x.jpg"),
            "videos.0.file_names.1",
            "leads out of the dataset's folder",
        ),
        (in_first("video_id", 8), "annotations.0.video_id", "8 is not the id of any of videos"),
        (in_first("category_id", 8), "annotations.0.category_id", "8 is not the id of any of cat"),
        (in_first("bboxes", [None]), "annotations.0.bboxes", "another length (1) than its video"),
        (in_first("segmentations", []), "annotations.0.segmentations", "another length (0) than"),
        (
            in_first("bboxes", [[1, 2, -4, 7], None, None]),
            "annotations.0.bboxes.0",
            "box has x2 < x1",
        ),
        (in_first("bboxes", [[1, 2], None, None]), "annotations.0.bboxes.0", "field required"),
        (at_first("text"), "annotations.0.segmentations.0", "input should be"),
        (at_first({"size": [12, 16]}), "annotations.0.segmentations.0", "required"),
        (
            at_first({"size": [16, 12], "counts": [192]}),
            "annotations.0.segmentations.0",
            "is of 16x12, the frame of 12x16",
        ),
        (
            at_first({"size": [12, 16], "counts": [100]}),
            "annotations.0.segmentations.0",
            "do not add up to the 192 pixels",
        ),
        (
            at_first({"size": [12, 16], "counts": "05"}),
            "annotations.0.segmentations.0",
            "has runs that end before the 192 pixels",
        ),
        (
            at_first({"size": [12, 16], "counts": "\u00e9"}),
            "annotations.0.segmentations.0",
            "compressed counts that are none",
        ),
        (at_first([[1, 2, 3, 4]]), "annotations.0.segmentations.0", "less than three corners"),
    ],
)
def test_bad_files_are_told_with_file_and_key(
    tmp_path: Path, change: Change, place: str, problem: str
) -> None:
    content = document()
    change(content)
    file = save(content, tmp_path)
    told = message(tmp_path)
    assert told.startswith(f"{file}: {place}: ")
    assert problem in told


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    file = save({}, tmp_path)
    file.write_text("[1")
    assert message(tmp_path).startswith(f"{file}: no JSON (")
    file.write_text("[]")
    assert message(tmp_path).startswith(f"{file}: holds no object with videos, annotations and")
