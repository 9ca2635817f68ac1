from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import fingerprint
from maskvd_cli.data.imagenet_vid import ImageNetVid
from maskvd_cli.data.images import load_image
from maskvd_cli.data.registry import datasets

# Three videos whose frame numbers jump twice in all: five clips.
VIDEOS = {
    "00000000": [0, 1, 2],
    "00000001": [0, 1, 5, 6],
    "00000002": [3, 4, 10],
}
FIVE_CLIPS = [
    ("00000000", [0, 1, 2]),
    ("00000001-0", [0, 1]),
    ("00000001-5", [5, 6]),
    ("00000002-3", [3, 4]),
    ("00000002-10", [10]),
]
NAMES = [
    "airplane",
    "antelope",
    "bear",
    "bicycle",
    "bird",
    "bus",
    "car",
    "cattle",
    "dog",
    "domestic_cat",
    "elephant",
    "fox",
    "giant_panda",
    "hamster",
    "horse",
    "lion",
    "lizard",
    "monkey",
    "motorcycle",
    "rabbit",
    "red_panda",
    "sheep",
    "snake",
    "squirrel",
    "tiger",
    "train",
    "turtle",
    "watercraft",
    "whale",
    "zebra",
]
OBJECT = (
    "<object><trackid>7</trackid><name>n02084071</name><bndbox><xmax>30</xmax><xmin>10</xmin>"
    "<ymax>25.5</ymax><ymin>5</ymin></bndbox><occluded>0</occluded></object>"
)
SIZE = "<size><width>64</width><height>48</height></size>"


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def xml(body: str = SIZE + OBJECT) -> str:
    return f"<annotation><folder>f</folder>{body}</annotation>"


def document(names: list[str]) -> dict[str, Any]:
    """One dog per image, the same as OBJECT."""
    return {
        "images": [
            {"id": 100 + i, "file_name": name, "width": 64, "height": 48}
            for i, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": 100 + i,
                "category_id": 9,
                "bbox": [10, 5, 20, 20.5],
                "iscrowd": 0,
                "instance_id": 7,
            }
            for i in range(len(names))
        ],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
    }


def file_names(videos: dict[str, list[int]]) -> list[str]:
    return [
        f"val/ILSVRC2015_val_{video}_{number:06d}.JPEG"
        for video in videos
        for number in videos[video]
    ]


def xml_set(root: Path, videos: dict[str, list[int]] = VIDEOS) -> Path:
    for video, numbers in videos.items():
        for number in numbers:
            write(root / f"Annotations/VID/val/{video}/{number:06d}.xml", xml())
    return root


def archive_set(root: Path, videos: dict[str, list[int]] = VIDEOS) -> Path:
    # Reversed, so that nothing rests on the order in the file.
    entries = document(file_names(videos)[::-1])
    write(root / "annotations" / "vid_val.json", json.dumps(entries))
    return root


def unpacked_set(root: Path, videos: dict[str, list[int]] = VIDEOS) -> Path:
    write(root / "vid_val" / "labels.json", json.dumps(document(file_names(videos))))
    return root


def picture(file: Path, size: tuple[int, int] = (64, 48)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(file, "JPEG")
    return file


def clips(root: Path, split: str = "val") -> list[Clip]:
    return list(ImageNetVid(root, split).clips())


def shape(found: list[Clip]) -> list[tuple[str, list[int]]]:
    return [(clip.name, [frame.index for frame in clip.frames]) for clip in found]


def message(root: Path, split: str = "val") -> str:
    with pytest.raises(DatasetError) as caught:
        clips(root, split)
    text = str(caught.value)
    assert "\n" not in text
    return text


MAKERS = pytest.mark.parametrize("make", [xml_set, archive_set, unpacked_set])


@MAKERS
def test_videos_are_cut_where_frame_numbers_jump(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = clips(make(tmp_path))
    assert len(VIDEOS) == 3
    assert len(found) == 5
    assert shape(found) == FIVE_CLIPS


@MAKERS
@pytest.mark.parametrize("below", ["ILSVRC2015", "vid_data"])
def test_root_may_be_one_level_above(
    make: Callable[[Path], Path], below: str, tmp_path: Path
) -> None:
    make(tmp_path / below)
    (tmp_path / "other").mkdir()
    assert shape(clips(tmp_path)) == FIVE_CLIPS


@MAKERS
def test_boxes_labels_tracks_and_sizes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = ImageNetVid(make(tmp_path))
    frame = next(dataset.clips()).frames[0]
    assert dataset.classes == tuple(NAMES)
    assert frame.size == Size(48, 64)
    assert frame.boxes.xyxy.tolist() == [[10, 5, 30, 25.5]]
    assert [dataset.classes[label] for label in frame.boxes.labels] == ["dog"]
    assert frame.boxes.track_ids.tolist() == [7]
    assert frame.boxes.ignore.tolist() == [False]


@pytest.mark.parametrize(
    ("synset", "name"),
    [("n02691156", "airplane"), ("n02121808", "domestic_cat"), ("n02391049", "zebra")],
)
def test_synsets_and_their_classes(synset: str, name: str, tmp_path: Path) -> None:
    body = SIZE + OBJECT.replace("n02084071", synset)
    write(tmp_path / "Annotations/VID/val/v/000000.xml", xml(body))
    (label,) = clips(tmp_path)[0].frames[0].boxes.labels
    assert NAMES[label] == name


def test_all_layouts_and_raw_say_the_same(tmp_path: Path) -> None:
    roots = [
        xml_set(tmp_path / "a"), archive_set(tmp_path / "b"), unpacked_set(tmp_path / "c")
    ]  # fmt: skip
    prints = {fingerprint(NAMES, clips(root)) for root in roots}
    prints.add(fingerprint(NAMES, ImageNetVid(roots[0], protocol="raw").clips()))
    assert len(prints) == 1


def test_registry_environment_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xml_set(tmp_path)
    monkeypatch.setenv("MASKVD_VID", str(tmp_path))
    dataset = datasets.load("imagenet-vid")()
    assert (dataset.split, dataset.protocol) == ("val", "imagenet-vid")
    assert len(list(dataset.clips())) == 5


def test_reading_writes_nothing(tmp_path: Path) -> None:
    unpacked_set(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    clips(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("make", "image"),
    [
        (xml_set, "Data/VID/val/00000001/000005.JPEG"),
        (archive_set, "vid_val/ILSVRC2015_val_00000001_000005.JPEG"),
        (unpacked_set, "vid_val/frames/00000001/000005.jpg"),
    ],
)
def test_images_are_found_and_read_when_asked_for(
    make: Callable[[Path], Path], image: str, tmp_path: Path
) -> None:
    root = make(tmp_path)
    file = picture(root / image)
    first, second = clips(root)[2].frames
    assert first.file == file
    assert load_image(first).shape == (48, 64, 3)
    assert second.file is None
    with pytest.raises(DatasetError) as caught:
        load_image(second)
    absent = (root / image).with_stem((root / image).stem.replace("000005", "000006"))
    assert str(caught.value).startswith(
        f"frame 6 of clip 00000001-5 has no image here ({absent.name}, looked for in "
        f"{absent.parent}); "
    )


@pytest.mark.parametrize(
    ("make", "image", "source"),
    [
        (xml_set, "Data/VID/val/00000000/000000.JPEG", "000000.xml"),
        (unpacked_set, "vid_val/frames/00000000/000000.jpg", "labels.json"),
    ],
)
def test_wrong_and_truncated_images(
    make: Callable[[Path], Path], image: str, source: str, tmp_path: Path
) -> None:
    root = make(tmp_path)
    file = picture(root / image, (32, 16))
    frame = clips(root)[0].frames[0]
    with pytest.raises(DatasetError) as caught:
        load_image(frame)
    assert f"{file}: image is 16x32 (rows x columns), {source} says 48x64" in str(caught.value)
    picture(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="truncated") as caught:
        load_image(frame)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("part", ["", "ILSVRC2015_VID_train_0000/"])
def test_train_videos_with_and_without_parts(part: str, tmp_path: Path) -> None:
    for number in (0, 1):
        write(tmp_path / f"Annotations/VID/train/{part}v1/{number:06d}.xml", xml())
    file = picture(tmp_path / f"Data/VID/train/{part}v1/000001.JPEG")
    (clip,) = clips(tmp_path, "train")
    assert clip.name == "v1"
    assert [frame.file for frame in clip.frames] == [None, file]


def test_one_video_in_two_parts_is_refused(tmp_path: Path) -> None:
    for part in ("p0", "p1"):
        write(tmp_path / f"Annotations/VID/train/{part}/v1/000000.xml", xml())
    assert f"{tmp_path}/Annotations/VID/train: video 'v1' is there twice, in p0 and p1" in message(
        tmp_path, "train"
    )


def test_xml_is_read_when_its_clip_is_reached(tmp_path: Path) -> None:
    xml_set(tmp_path)
    broken = write(tmp_path / "Annotations/VID/val/00000001/000005.xml", "<annotation>")
    reading = ImageNetVid(tmp_path).clips()
    assert [next(reading).name, next(reading).name] == ["00000000", "00000001-0"]
    with pytest.raises(DatasetError, match="no XML") as caught:
        next(reading)
    assert str(caught.value).startswith(f"{broken}: ")


BOMB = (
    '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
    "<annotation><folder>&y;</folder></annotation>"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "DTDForbidden"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "DTDForbidden"),
        ("", "no XML"),
        ("no markup", "no XML"),
        ('<?xml version="1.0" encoding="nonesuch"?><annotation/>', "no XML"),
        ('<?xml version="1.0" encoding="utf-32"?><annotation/>', "no XML"),
    ],
)
def test_unsafe_or_damaged_xml(text: str, reason: str, tmp_path: Path) -> None:
    file = write(tmp_path / "Annotations/VID/val/v/000000.xml", text)
    assert message(tmp_path).startswith(f"{file}: ")
    assert reason in message(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("n02084071", "n00000000", "object.1.name: 'n00000000' is none of the 30 synsets"),
        ("<name>n02084071</name>", "", "object.1.name: is missing or empty"),
        ("<trackid>7</trackid>", "", "object.1.trackid: is missing or empty"),
        ("<trackid>7", "<trackid>seven", "object.1.trackid: 'seven' is not a whole number"),
        ("<xmin>10</xmin>", "", "object.1.bndbox.xmin: is missing or empty"),
        ("<xmin>10", "<xmin>", "object.1.bndbox.xmin: is missing or empty"),
        ("<ymax>25.5", "<ymax>tall", "object.1.bndbox.ymax: 'tall' is not a number"),
        ("<ymax>25.5", "<ymax>nan", "object.1.bndbox: box 10 5 30 nan is not finite"),
        ("<xmin>10", "<xmin>31", "object.1.bndbox: box has x2 < x1 (30 < 31)"),
    ],
)
def test_bad_object_in_xml(old: str, new: str, expected: str, tmp_path: Path) -> None:
    bad = OBJECT.replace(old, new)
    assert bad != OBJECT
    file = write(tmp_path / "Annotations/VID/val/v/000000.xml", xml(SIZE + OBJECT + bad))
    assert message(tmp_path).startswith(f"{file}: {expected}")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("", "size.height: is missing or empty"),
        ("<size><height>48</height></size>", "size.width: is missing or empty"),
        ("<size><height>4x</height><width>9</width></size>", "size.height: '4x' is not a whole"),
        ("<size><height>48</height><width>0</width></size>", "size.width: '0' is not a whole"),
        ("<size><height>48</height><width>99999</width></size>", "size.width: '99999' is not"),
    ],
)
def test_bad_size_in_xml(size: str, expected: str, tmp_path: Path) -> None:
    file = write(tmp_path / "Annotations/VID/val/v/000000.xml", xml(size))
    assert message(tmp_path).startswith(f"{file}: {expected}")


def test_frames_are_sorted_by_number(tmp_path: Path) -> None:
    for number in (10, 8, 9):
        write(tmp_path / f"Annotations/VID/val/v/{number}.xml", xml())
    assert shape(clips(tmp_path)) == [("v", [8, 9, 10])]


def test_frame_without_objects(tmp_path: Path) -> None:
    write(tmp_path / "Annotations/VID/val/v/000000.xml", xml(SIZE))
    assert clips(tmp_path)[0].frames[0].boxes.xyxy.shape == (0, 4)


def test_boxes_are_cut_at_the_border_and_counted(tmp_path: Path) -> None:
    body = SIZE + OBJECT + OBJECT.replace("<xmax>30", "<xmax>70")
    write(tmp_path / "Annotations/VID/val/v/000000.xml", xml(body))
    dataset = ImageNetVid(tmp_path)
    (clip,) = dataset.clips()
    assert clip.frames[0].boxes.xyxy[:, 2].tolist() == [30, 64]
    assert (dataset.tally.read, dataset.tally.clipped) == (2, 1)
    assert "v/000000.xml" in str(dataset.tally.note())


@pytest.mark.parametrize("split", ["minival", "det-train"])
def test_splits_that_ilsvrc2015_does_not_have(split: str, tmp_path: Path) -> None:
    text = message(xml_set(tmp_path), split)
    assert f"no split '{split}' in the ILSVRC2015 layout; there are: train, val" in text


def test_absent_folders(tmp_path: Path) -> None:
    xml_set(tmp_path / "a")
    top = tmp_path / "a/Annotations/VID"
    assert message(tmp_path / "a", "train").startswith(
        f"{top}/train: no such folder; there are: val;"
    )
    (top / "train").mkdir()
    assert message(tmp_path / "a", "train").startswith(f"{top}/train: no video folders here")
    (top / "train" / "v").mkdir()
    assert message(tmp_path / "a", "train").startswith(f"{top}/train/v: no frames")


def test_folder_of_something_else(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(
        f"{tmp_path}: no ImageNet VID annotations here; the folder is empty; expected "
    )
    for number in range(10):
        write(tmp_path / f"file{number}", "")
    assert "there are: file0, file1," in message(tmp_path)
    assert "and 2 more; expected Annotations/VID/ (ILSVRC2015)" in message(tmp_path)
    assert message(tmp_path / "file0").startswith(f"{tmp_path}/file0: is no folder")
    with pytest.raises(DatasetError, match="no such folder"):
        ImageNetVid(tmp_path / "absent")


def test_two_sets_below_the_root(tmp_path: Path) -> None:
    xml_set(tmp_path / "ILSVRC2015")
    archive_set(tmp_path / "vid_data")
    assert message(tmp_path).startswith(f"{tmp_path}: holds several sets: ILSVRC2015, vid_data")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0.xml", "frame 0 is there twice: 0.xml and 000000.xml"),
        ("first.xml", "'first.xml' is not named <frame number>.xml"),
    ],
)
def test_frame_files_that_do_not_fit(name: str, expected: str, tmp_path: Path) -> None:
    folder = xml_set(tmp_path) / "Annotations/VID/val/00000000"
    write(folder / "._000000.xml", "")
    assert len(clips(tmp_path)) == 5
    write(folder / name, xml())
    assert message(tmp_path).startswith(f"{folder}: {expected}")


@MAKERS
def test_annotations_of_another_split(make: Callable[[Path], Path], tmp_path: Path) -> None:
    text = message(make(tmp_path), "train")
    assert "there are: " in text
    assert "val" in text.partition("there are: ")[2]


def test_absent_annotation_file_names_what_is_there(tmp_path: Path) -> None:
    archive_set(tmp_path)
    assert message(tmp_path, "minival").startswith(
        f"{tmp_path}/annotations/vid_minival.json: no such file (split 'minival'); "
        "there are: vid_val.json; "
    )


def test_minival_of_the_archive_has_its_images_in_val(tmp_path: Path) -> None:
    names = file_names({"00000004": [0]})
    write(tmp_path / "annotations" / "vid_minival.json", json.dumps(document(names)))
    file = picture(tmp_path / "vid_val" / Path(names[0]).name)
    (clip,) = clips(tmp_path, "minival")
    assert clip.frames[0].file == file


@pytest.mark.parametrize("kind", ["absent", "link", "broken link", "own"])
def test_minival_of_the_unpacked_archive(kind: str, tmp_path: Path) -> None:
    names = file_names({"00000004": [0]})
    write(tmp_path / "vid_minival" / "labels.json", json.dumps(document(names)))
    of_val, own = tmp_path / "vid_val" / "frames", tmp_path / "vid_minival" / "frames"
    of_val.mkdir(parents=True)
    if kind == "link":
        own.symlink_to(of_val, target_is_directory=True)
    elif kind == "broken link":
        own.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    folder = own if kind in ("own", "link") else of_val
    file = picture(folder / "00000004" / "000000.jpg")
    (clip,) = clips(tmp_path, "minival")
    assert clip.frames[0].file == file


STILLS = ["x/n01503061_12.JPEG", "ILSVRC2014_train_00000013.JPEG", "n01503061_13.JPEG"]


def test_det_train_gives_a_clip_per_image(tmp_path: Path) -> None:
    text = json.dumps(document(STILLS))
    write(tmp_path / "b" / "annotations" / "det_train.json", text)
    write(tmp_path / "c" / "det_train" / "labels.json", text)
    in_b = picture(tmp_path / "b" / "det_train" / "n01503061_12.JPEG")
    in_c = picture(tmp_path / "c" / "det_train" / "frames" / "n01503061" / "12.jpg")
    expected = [
        ("ILSVRC2014_train_00000013", [13]),
        ("n01503061_12", [12]),
        ("n01503061_13", [13]),
    ]
    for root, file in ((tmp_path / "b", in_b), (tmp_path / "c", in_c)):
        found = clips(root, "det-train")
        assert shape(found) == expected
        assert [clip.frames[0].file for clip in found] == [None, file, None]


def test_stills_that_unpacking_put_on_one_another(tmp_path: Path) -> None:
    names = ["ILSVRC2013_train_00000013.JPEG", "ILSVRC2014_train_00000013.JPEG"]
    text = json.dumps(document(names))
    write(tmp_path / "b" / "annotations" / "det_train.json", text)
    write(tmp_path / "c" / "det_train" / "labels.json", text)
    assert len(clips(tmp_path / "b", "det-train")) == 2
    assert message(tmp_path / "c", "det-train").startswith(
        f"{tmp_path}/c/det_train/labels.json: images.1.file_name: "
        "frame 13 of video 'train' is there twice"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/other_00000000_0.JPEG", "frame 0 of video '00000000' is there twice"),
        ("000000.JPEG", "'000000.JPEG' is not named *_<video>_<frame number>"),
        ("a_00000000_first.JPEG", "'a_00000000_first.JPEG' is not named"),
        ("a_.._000001.JPEG", "'a_.._000001.JPEG' is not named"),
        ("a_v_" + "1" * 5000 + ".JPEG", "'a_v_1111"),
        ("", "'' is not named"),
    ],
)
def test_file_names_that_do_not_fit(name: str, expected: str, tmp_path: Path) -> None:
    entries = document([*file_names({"00000000": [0]}), name])
    file = write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    assert message(tmp_path).startswith(f"{file}: images.1.file_name: {expected}")


def test_categories_in_another_order_are_taken_by_their_names(tmp_path: Path) -> None:
    entries = document(file_names({"00000000": [0]}))
    entries["categories"][8]["name"], entries["categories"][9]["name"] = "n02121808", "dog"
    write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    boxes = clips(tmp_path)[0].frames[0].boxes
    assert entries["annotations"][0]["category_id"] == 9
    assert boxes.labels.tolist() == [NAMES.index("domestic_cat")]


def test_class_names_in_another_spelling_are_accepted(tmp_path: Path) -> None:
    entries = document(file_names({"00000000": [0]}))
    entries["categories"][9]["name"] = "Domestic Cat"
    entries["categories"][12]["name"] = "panda"
    write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    assert clips(tmp_path)[0].frames[0].boxes.labels.tolist() == [8]


@pytest.mark.parametrize("category", [0, 31])
def test_category_ids_beyond_the_thirty_classes(category: int, tmp_path: Path) -> None:
    entries = document(file_names({"00000000": [0, 1]}))
    entries["categories"].append({"id": category, "name": "unicorn"})
    entries["annotations"][1]["category_id"] = category
    file = write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    assert message(tmp_path).startswith(
        f"{file}: categories.30: 'unicorn' is none of the 30 classes, and its id {category} is not"
    )


def test_crowd_and_absent_tracks_in_the_archive(tmp_path: Path) -> None:
    entries = document(file_names({"00000000": [0]}))
    entries["annotations"][0]["iscrowd"] = 1
    del entries["annotations"][0]["instance_id"]
    write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    boxes = clips(tmp_path)[0].frames[0].boxes
    assert (boxes.labels.tolist(), boxes.ignore.tolist()) == ([8], [False])
    assert boxes.track_ids.tolist() == [-1]
    assert boxes.track_ids.dtype == np.int64


@MAKERS
def test_clips_name_the_video_that_they_were_cut_from(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    found = [clip.video for clip in clips(make(tmp_path))]
    assert found == ["00000000", "00000001", "00000001", "00000002", "00000002"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_in_xml(encoding: str, tmp_path: Path) -> None:
    file = write(tmp_path / "Annotations/VID/val/v/000000.xml", "")
    file.write_bytes(xml().encode(encoding))
    assert len(clips(tmp_path)[0].frames[0].boxes) == 1


def test_a_pipe_in_place_of_xml_does_not_hang(tmp_path: Path) -> None:
    file = xml_set(tmp_path) / "Annotations/VID/val/00000000/000001.xml"
    file.unlink()
    os.mkfifo(file)
    assert message(tmp_path) == f"{file}: cannot be read (not a regular file)"


def test_backslashes_in_names(tmp_path: Path) -> None:
    entries = document([name.replace("/", "\\") for name in file_names(VIDEOS)])
    write(tmp_path / "annotations" / "vid_val.json", json.dumps(entries))
    file = picture(tmp_path / "vid_val/ILSVRC2015_val_00000000_000000.JPEG")
    found = clips(tmp_path)
    assert shape(found) == FIVE_CLIPS
    assert found[0].frames[0].file == file
