from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.coco_video import CocoVideo
from maskvd_cli.data.images import load_image
from maskvd_cli.data.registry import datasets

Entries = dict[str, Any]


def image(row: int, video: int, frame: int, name: str | None = None) -> Entries:
    return {
        "id": 100 + row,
        "file_name": name or f"v{video}/{frame:06d}.jpg",
        "width": 64,
        "height": 48,
        "video_id": video,
        "frame_id": frame,
    }


def box(row: int, **more: object) -> Entries:
    entry = {"id": row, "image_id": 100 + row, "category_id": 5, "bbox": [10, 5, 20, 20.5]}
    return entry | more


def document(frames: dict[int, list[int]], names: dict[int, str] | None = None) -> Entries:
    """One box per image; categories in the wrong order."""
    pairs = [(video, number) for video in frames for number in frames[video]]
    made: Entries = {
        "info": {"year": 2024},
        "images": [image(row, *pair) for row, pair in enumerate(pairs)],
        "annotations": [box(row, area=410, extra=[1]) for row in range(len(pairs))],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat", "supercategory": "a"}],
    }
    if names is not None:
        made["videos"] = [{"id": video, "name": name} for video, name in names.items()]
    return made


def save(entries: object, root: Path, name: str = "annotations/val.json") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(entries))
    return file


def picture(file: Path, size: tuple[int, int] = (64, 48)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 10)).save(file, "JPEG")
    return file


def clips(root: Path) -> list[Clip]:
    return list(CocoVideo(root).clips())


def shape(root: Path) -> list[tuple[str, list[int]]]:
    return [(clip.name, [frame.index for frame in clip.frames]) for clip in clips(root)]


def message(root: Path, split: str = "val") -> str:
    with pytest.raises(DatasetError) as caught:
        list(CocoVideo(root, split).clips())
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_boxes_classes_and_sizes(tmp_path: Path) -> None:
    save(document({1: [0, 1]}), tmp_path)
    dataset = CocoVideo(tmp_path)
    (clip,) = dataset.clips()
    frame = clip.frames[0]
    assert dataset.classes == ("cat", "dog")
    assert frame.size == Size(48, 64)
    assert frame.boxes.xyxy.tolist() == [[10, 5, 30, 25.5]]
    assert frame.boxes.labels.tolist() == [1]
    assert frame.boxes.track_ids.tolist() == [-1]
    assert frame.file is None


def test_boxes_go_to_their_images_whatever_the_order(tmp_path: Path) -> None:
    entries = document({1: [2, 0, 1]})
    entries["annotations"] = [
        box(2, bbox=[1, 1, 1, 1]),
        box(0, bbox=[2, 2, 2, 2], category_id=2),
        box(2, bbox=[3, 3, 3, 3]),
    ]
    save(entries, tmp_path)
    (clip,) = clips(tmp_path)
    assert [frame.index for frame in clip.frames] == [0, 1, 2]
    assert [frame.boxes.xyxy[:, 0].tolist() for frame in clip.frames] == [[], [1, 3], [2]]
    assert [frame.boxes.labels.tolist() for frame in clip.frames] == [[], [1, 1], [0]]


def test_boxes_of_an_image_keep_their_order(tmp_path: Path) -> None:
    entries = document({1: [0, 1]})
    entries["annotations"] = [box(i % 2, bbox=[i / 10, 0, 1, 1]) for i in range(400)]
    save(entries, tmp_path)
    for row, frame in enumerate(clips(tmp_path)[0].frames):
        assert frame.boxes.xyxy[:, 0].tolist() == [i / 10 for i in range(row, 400, 2)]


def test_tracks_are_instance_id_or_track_id(tmp_path: Path) -> None:
    entries = document({1: [0, 1, 2, 3]})
    entries["annotations"][0]["instance_id"] = 3
    entries["annotations"][1]["track_id"] = 4
    entries["annotations"][2]["instance_id"] = None
    save(entries, tmp_path)
    tracks = [frame.boxes.track_ids.tolist() for frame in clips(tmp_path)[0].frames]
    assert tracks == [[3], [4], [-1], [-1]]


@pytest.mark.parametrize("flag", [1, True])
def test_crowds_are_ignore_regions_except_raw(flag: int, tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["annotations"] = [box(0, iscrowd=flag), box(0, iscrowd=0), box(0)]
    save(entries, tmp_path)
    boxes = clips(tmp_path)[0].frames[0].boxes
    assert boxes.labels.tolist() == [-1, 1, 1]
    assert boxes.ignore.tolist() == [True, False, False]
    boxes = next(CocoVideo(tmp_path, protocol="raw").clips()).frames[0].boxes
    assert boxes.labels.tolist() == [1, 1, 1]
    assert not boxes.ignore.any()


def test_boxes_are_cut_at_the_border_and_counted(tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["annotations"] += [box(0, bbox=[60, 40, 10, 2]), box(0, bbox=[70, 0, 5, 5])]
    save(entries, tmp_path)
    dataset = CocoVideo(tmp_path)
    (clip,) = dataset.clips()
    assert clip.frames[0].boxes.xyxy.tolist() == [[10, 5, 30, 25.5], [60, 40, 64, 42]]
    tally = dataset.tally
    assert (tally.read, tally.clipped, tally.dropped) == (3, 2, 1)
    assert "(first: val.json: images.0)" in str(tally.note())


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([0, 1, 2], [("7", [0, 1, 2])]),
        ([3, 1, 2], [("7", [1, 2, 3])]),
        ([1, 2, 5, 6], [("7-1", [1, 2]), ("7-5", [5, 6])]),
        ([0, 10, 20, 50, 60], [("7-0", [0, 10, 20]), ("7-50", [50, 60])]),
        ([0, 10, 20, 21, 50], [("7-0", [0, 10, 20, 21]), ("7-50", [50])]),
        ([5], [("7", [5])]),
    ],
)
def test_videos_are_cut_at_jumps_beyond_their_usual_step(
    frames: list[int], expected: list[tuple[str, list[int]]], tmp_path: Path
) -> None:
    save(document({7: frames}), tmp_path)
    assert shape(tmp_path) == expected


def test_clip_names_come_from_videos_and_are_safe_and_unique(tmp_path: Path) -> None:
    names = {1: "a/b", 2: "../x y", 3: "cam", 4: "cam", 6: "..", 7: "cam-5", 8: "cam", 9: "n" * 200}
    frames = {1: [0], 2: [0], 3: [0, 1, 5], 4: [0], 5: [0], 6: [0], 7: [0], 8: [0, 1, 5], 9: [0]}
    save(document(frames, names), tmp_path)
    found = [name for name, _ in shape(tmp_path)]
    assert found == [
        "a_b", "_x_y", "cam-0", "cam-5", "cam", "5", "6", "cam-5.7", "cam-0.8", "cam-5.8",
        "n" * 100,
    ]  # fmt: skip


def test_names_that_collide_even_with_the_video_id(tmp_path: Path) -> None:
    names = {1: "cam.3", 2: "cam", 3: "cam"}
    save(document({1: [0], 2: [0], 3: [0]}, names), tmp_path)
    found = [name for name, _ in shape(tmp_path)]
    assert found[:2] == ["cam.3", "cam"]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "name",
    ["annotations/val.json", "annotations/set_val.json", "val.json", "instances_val.json"],
)
def test_annotation_files_by_split(name: str, tmp_path: Path) -> None:
    save(document({1: [0]}), tmp_path, name)
    save(document({1: [0], 2: [0]}), tmp_path, "annotations/train.json")
    assert len(clips(tmp_path)) == 1


def test_several_or_no_annotation_files(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(
        f"{tmp_path}: no annotations of split 'val'; there are: no JSON files; "
        "expected annotations/val.json"
    )
    save(document({1: [0]}), tmp_path, "annotations/a_train.json")
    assert "no annotations of split 'val'; there are: annotations/a_train.json" in message(tmp_path)
    save(document({1: [0]}), tmp_path, "annotations/a_val.json")
    save(document({1: [0]}), tmp_path, "val.json")
    assert message(tmp_path).startswith(
        f"{tmp_path}: 2 files fit split 'val': annotations/a_val.json, val.json; name one"
    )


def test_root_may_be_the_file_whatever_the_split(tmp_path: Path) -> None:
    file = save(document({1: [0]}), tmp_path, "annotations/anything.json")
    assert len(list(CocoVideo(file, "train").clips())) == 1


def test_registry_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(document({1: [0]}), tmp_path)
    monkeypatch.setenv("MASKVD_COCO_VIDEO", str(tmp_path))
    dataset = datasets.load("coco-video")()
    assert (dataset.split, dataset.protocol) == ("val", "coco")
    assert len(list(dataset.clips())) == 1


@pytest.mark.parametrize("below", ["", "val/", "images/", "images/val/"])
def test_images_are_looked_for_below_the_root(below: str, tmp_path: Path) -> None:
    save(document({1: [0, 1]}), tmp_path)
    file = picture(tmp_path / f"{below}v1/000001.jpg")
    absent, present = clips(tmp_path)[0].frames
    assert (absent.file, present.file) == (None, file)
    with pytest.raises(DatasetError) as caught:
        load_image(absent)
    assert str(caught.value).startswith(
        f"frame 0 of clip 1 has no image here (v1/000000.jpg, looked for in {tmp_path}, "
        f"{tmp_path}/val, {tmp_path}/images, {tmp_path}/images/val); "
    )
    assert load_image(present).shape == (48, 64, 3)


def test_a_file_where_a_folder_of_images_may_be(tmp_path: Path) -> None:
    save(document({1: [0]}), tmp_path)
    (tmp_path / "images").touch()
    assert clips(tmp_path)[0].frames[0].file is None


@pytest.mark.parametrize("below", ["annotations/", "", "val/", "images/"])
def test_images_are_looked_for_beside_and_above_the_file(below: str, tmp_path: Path) -> None:
    annotations = save(document({1: [0]}), tmp_path)
    file = picture(tmp_path / f"{below}v1/000000.jpg")
    assert clips(annotations)[0].frames[0].file == file


def test_wrong_and_truncated_images(tmp_path: Path) -> None:
    save(document({1: [0]}), tmp_path)
    file = picture(tmp_path / "v1/000000.jpg", (32, 16))
    frame = clips(tmp_path)[0].frames[0]
    with pytest.raises(DatasetError, match=r"image is 16x32 .*, val\.json says 48x64"):
        load_image(frame)
    picture(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="truncated") as caught:
        load_image(frame)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.jpg", "a/../../b.jpg", "a\0/b.jpg"])
def test_file_names_that_lead_out(name: str, tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["images"].append(image(1, 1, 1, name))
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: images.1.file_name: ")
    assert "leads out of the dataset's folder" in message(tmp_path)


def test_one_frame_twice(tmp_path: Path) -> None:
    file = save(document({1: [0, 3, 0]}), tmp_path)
    assert message(tmp_path).startswith(
        f"{file}: images.2.frame_id: frame 0 of video 1 is already images.0; keep one"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON (EOF while parsing"),
        ("{'images': []}", "no JSON (key must be a string at line 1 column 2)"),
        ('{"images": [', "no JSON (EOF while parsing a list at line 1 column 12)"),
        ("[" * 5000, "no JSON (recursion limit exceeded"),
        ("[]", "holds no object with images, annotations and categories"),
        ("3", "holds no object with images, annotations and categories"),
    ],
)
def test_files_that_are_not_coco_json(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "val.json"
    file.write_text(text)
    assert message(tmp_path).startswith(f"{file}: {reason}")
    file.write_bytes(b'{"images": "\xff"}')
    assert message(tmp_path).startswith(f"{file}: no JSON (invalid unicode")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "val.json").mkdir()
    assert message(tmp_path).startswith(f"{tmp_path / 'val.json'}: cannot be read (Is a directory)")


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_missing_lists(key: str, tmp_path: Path) -> None:
    entries = document({1: [0]})
    del entries[key]
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: {key}: is missing; ")
    file = save(entries | {key: {}}, tmp_path)
    assert message(tmp_path).startswith(f"{file}: {key}: input should be a valid array; ")


def test_no_images_at_all(tmp_path: Path) -> None:
    file = save(document({}), tmp_path)
    assert message(tmp_path).startswith(f"{file}: images: the list is empty; ")


WHOLE = "input should be a valid integer"


@pytest.mark.parametrize(
    ("key", "field", "value", "expected"),
    [
        ("images", "id", "7", WHOLE),
        ("images", "id", 1.5, WHOLE),
        ("images", "id", True, WHOLE),
        ("images", "file_name", None, "input should be a valid string"),
        ("images", "width", 0, "input should be greater than or equal to 1"),
        ("images", "height", 1_000_000, "input should be less than or equal to 16384"),
        ("images", "video_id", "v", WHOLE),
        ("images", "frame_id", -1, "input should be greater than or equal to 0"),
        ("annotations", "image_id", None, WHOLE),
        ("annotations", "category_id", 5.5, WHOLE),
        ("annotations", "category_id", 10**30, "input should be less than or equal to"),
        ("annotations", "iscrowd", 2, "needs 0 or 1"),
        ("annotations", "iscrowd", "yes", "needs 0 or 1"),
        ("annotations", "ignore", 3, "needs 0 or 1"),
        ("annotations", "instance_id", 1.5, WHOLE),
        ("annotations", "track_id", True, WHOLE),
        ("annotations", "track_id", 0.5, WHOLE),
        ("categories", "id", "2", WHOLE),
        ("categories", "name", 3, "input should be a valid string"),
        ("videos", "id", "2", WHOLE),
        ("videos", "name", 3, "input should be a valid string"),
        ("videos", "file_name", 3, "input should be a valid string"),
    ],
)
def test_values_of_wrong_type_or_range(
    key: str, field: str, value: object, expected: str, tmp_path: Path
) -> None:
    entries = document({1: [0, 1]}, {1: "a", 2: "b"})
    entries[key][1][field] = value
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: {key}.1.{field}: {expected}")


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("images", "id"),
        ("images", "file_name"),
        ("images", "width"),
        ("images", "video_id"),
        ("images", "frame_id"),
        ("annotations", "image_id"),
        ("annotations", "bbox"),
        ("categories", "name"),
    ],
)
def test_missing_keys(key: str, field: str, tmp_path: Path) -> None:
    entries = document({1: [0, 1]})
    del entries[key][1][field]
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: {key}.1.{field}: is missing; ")


def test_an_entry_that_is_no_object(tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["annotations"].append([1])
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: annotations.1: input should be an object; ")


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([1, 2, 3], "needs four finite numbers"),
        ([1, 2, 3, 4, 5], "needs four finite numbers"),
        ([1, 2, "3", 4], "needs four finite numbers"),
        ([1, 2, True, 4], "needs four finite numbers"),
        ([1, 2, None, 4], "needs four finite numbers"),
        ("1 2 3 4", "needs four finite numbers"),
        ([1, 2, float("nan"), 4], "needs four finite numbers"),
        ([float("inf"), 2, 3, 4], "needs four finite numbers"),
        ([1, 2, 10**400, 4], "needs four finite numbers"),
        ([1, 2, -3, 4], "width -3 and height 4 must not be negative"),
        ([1e9, 2, 3, -1e-9], "width 3 and height -1e-09 must not be negative"),
        ([1e308, 2, 1.7e308, 4], "box 1e+308 2 inf 6 is not finite"),
    ],
)
def test_bad_boxes(bbox: object, expected: str, tmp_path: Path) -> None:
    entries = document({1: [0, 1, 2, 3]})
    entries["annotations"][3]["bbox"] = bbox
    entries["annotations"].reverse()
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(f"{file}: annotations.0.bbox: {expected}")


@pytest.mark.parametrize(
    ("field", "listed"), [("image_id", "images"), ("category_id", "categories")]
)
def test_annotations_that_point_nowhere(field: str, listed: str, tmp_path: Path) -> None:
    entries = document({1: [0, 1]})
    entries["annotations"][1][field] = 999
    file = save(entries, tmp_path)
    assert message(tmp_path).startswith(
        f"{file}: annotations.1.{field}: 999 is not the id of any of {listed}; add"
    )


@pytest.mark.parametrize("key", ["images", "categories", "videos"])
def test_ids_given_twice(key: str, tmp_path: Path) -> None:
    entries = document({1: [0, 1]}, {1: "a", 2: "b"})
    entries[key][1]["id"] = entries[key][0]["id"]
    file = save(entries, tmp_path)
    number = entries[key][0]["id"]
    assert message(tmp_path).startswith(
        f"{file}: {key}.1.id: {number} is already the id of {key}.0; give each"
    )


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    entries = document({1: [0, 1]})
    entries["categories"] = [
        {"id": 1, "name": "car"}, {"id": 0, "name": "car"}, {"id": 5, "name": "dog"},
    ]  # fmt: skip
    entries["annotations"] = [box(0, category_id=1), box(0, category_id=0), box(1)]
    save(entries, tmp_path)
    dataset = CocoVideo(tmp_path)
    (clip,) = dataset.clips()
    assert dataset.classes == ("car", "dog")
    assert [frame.boxes.labels.tolist() for frame in clip.frames] == [[0, 0], [1]]
    assert dataset.remarks() == [
        "val.json: the categories with ids 0, 1 are all named 'car', and are one class here."
    ]


def test_an_unused_root_category_changes_no_class(tmp_path: Path) -> None:
    plain, rooted = document({1: [0]}), document({1: [0]})
    rooted["categories"].append({"id": 0, "name": "dog"})
    save(plain, tmp_path / "a")
    save(rooted, tmp_path / "b")
    found = [CocoVideo(tmp_path / name) for name in "ab"]
    labels = [next(dataset.clips()).frames[0].boxes.labels for dataset in found]
    names = [dataset.classes[label] for dataset, (label,) in zip(found, labels, strict=True)]
    assert names == ["dog", "dog"]


@pytest.mark.parametrize("flag", [1, True])
def test_ignore_without_iscrowd_is_an_ignore_region_and_noted(flag: int, tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["annotations"] = [box(0, ignore=flag), box(0, ignore=0), box(0, iscrowd=1, ignore=1)]
    save(entries, tmp_path)
    dataset = CocoVideo(tmp_path)
    boxes = next(dataset.clips()).frames[0].boxes
    assert boxes.labels.tolist() == [-1, 1, -1]
    assert boxes.ignore.tolist() == [True, False, True]
    assert dataset.remarks() == [
        "val.json: 1 annotation with `ignore` and without `iscrowd`, taken as ignore regions."
    ]
    raw = CocoVideo(tmp_path, protocol="raw")
    assert not next(raw.clips()).frames[0].boxes.ignore.any()
    assert raw.remarks() == []


def test_videos_without_a_name_are_named_by_file_name_or_id(tmp_path: Path) -> None:
    entries = document({1: [0], 2: [0], 3: [0], 4: [0]})
    entries["videos"] = [
        {"id": 1, "file_name": "MOT17-02"}, {"id": 2}, {"id": 3, "name": "", "file_name": "x"},
        {"id": 4, "name": "y", "file_name": "z"},
    ]  # fmt: skip
    save(entries, tmp_path)
    assert [name for name, _ in shape(tmp_path)] == ["MOT17-02", "2", "x", "y"]


def test_tracks_that_are_text_are_numbered(tmp_path: Path) -> None:
    entries = document({1: [0, 1, 2, 3, 4, 5]})
    tracks = ["a7", "b", "a7", "12", 40, ""]
    for entry, track in zip(entries["annotations"], tracks, strict=True):
        entry["track_id"] = track
    save(entries, tmp_path)
    found = [frame.boxes.track_ids.tolist() for frame in clips(tmp_path)[0].frames]
    assert found == [[41], [42], [41], [12], [40], [-1]]


def test_clips_of_one_video_name_it(tmp_path: Path) -> None:
    save(document({3: [0, 1, 5], 4: [0], 7: [0]}, {3: "cam", 4: "cam"}), tmp_path)
    found = [(clip.name, clip.video) for clip in clips(tmp_path)]
    assert found == [("cam-0", "cam"), ("cam-5", "cam"), ("cam", "cam.4"), ("7", "7")]


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    file = save(document({1: [0]}), tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(clips(tmp_path)) == 1


def test_youtube_vis_is_told_what_it_is(tmp_path: Path) -> None:
    entries = {
        "videos": [{"id": 1, "width": 64, "height": 48, "length": 1, "file_names": ["v/0.jpg"]}],
        "annotations": [{"id": 1, "video_id": 1, "category_id": 5, "bboxes": [[1, 1, 2, 2]]}],
        "categories": [{"id": 5, "name": "dog"}],
    }
    file = save(entries, tmp_path)
    assert message(tmp_path) == (
        f"{file}: is in YouTube-VIS' form (videos with file_names, no images); read it with "
        "--dataset youtube-vis"
    )


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    os.mkfifo(tmp_path / "annotations/val.json")
    assert "val.json: cannot be read (not a regular file)" in message(tmp_path)


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    entries = document({1: [0]})
    entries["images"][0]["file_name"] = "v1\\000000.jpg"
    save(entries, tmp_path)
    file = picture(tmp_path / "v1/000000.jpg")
    assert clips(tmp_path)[0].frames[0].file == file
    for name in ("..\\000000.jpg", "C:\\v1\\000000.jpg", "\\v1\\0.jpg"):
        entries["images"][0]["file_name"] = name
        save(entries, tmp_path)
        assert "leads out of the dataset's folder" in message(tmp_path)


def test_a_file_of_another_name_may_be_named(tmp_path: Path) -> None:
    save(document({1: [0]}), tmp_path, "annotations/mine.json")
    assert message(tmp_path).endswith(
        "; a file of another name may be named itself in place of the folder"
    )
