"""Large sets are parsed once: what is kept says the same, and never more than the files do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.data import gather as gathering
from maskvd_cli.data import stored_clips
from maskvd_cli.data.base import Dataset, fingerprint
from maskvd_cli.data.cache import cache_folder, load_entry, save_entry
from maskvd_cli.data.coco_video import CocoVideo
from maskvd_cli.data.gather import gather
from maskvd_cli.data.imagenet_vid import ImageNetVid

FRAMES = [0, 1, 2, 7, 8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKVD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stored_clips, "LEAST_FRAMES", 1)
    monkeypatch.setattr(gathering, "LEAST_FRAMES", 1)
    return tmp_path / "cache"


def xml_set(root: Path) -> Dataset:
    text = (
        "<annotation><size><width>64</width><height>48</height></size><object><trackid>7</trackid>"
        "<name>n02084071</name><bndbox><xmax>70</xmax><xmin>{x}</xmin><ymax>25</ymax><ymin>5</ymin>"
        "</bndbox></object></annotation>"
    )
    for video in ("a", "b"):
        for number in FRAMES:
            file = root / f"Annotations/VID/val/{video}/{number:06d}.xml"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.format(x=number))
    return ImageNetVid(root)


def coco_set(root: Path) -> Dataset:
    file = root / "val.json"
    if not file.exists():
        images = [
            {"id": i, "file_name": f"v/{n:06d}.jpg", "width": 64, "height": 48, "video_id": 1,
             "frame_id": n}
            for i, n in enumerate(FRAMES)
        ]  # fmt: skip
        boxes = [
            {"id": i, "image_id": i, "category_id": i % 2, "bbox": [i, 5, 70, 9], "ignore": i == 3}
            for i in range(len(FRAMES))
        ]
        names = [{"id": 0, "name": "dog"}, {"id": 1, "name": "dog"}]
        root.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": boxes, "categories": names}
        file.write_text(json.dumps(content))
    return CocoVideo(root)


SETS = pytest.mark.parametrize("make", [xml_set, coco_set])


def told(dataset: Dataset) -> object:
    clips = list(dataset.clips())
    rows = [
        (clip.name, clip.video, frame.index, frame.file, frame.size, frame.size_source,
         str(frame.sought), frame.boxes.xyxy.tolist(), frame.boxes.track_ids.tolist())
        for clip in clips for frame in clip.frames
    ]  # fmt: skip
    return rows, fingerprint(dataset.classes, clips), dataset.classes, dataset.remarks()


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("annotations were read again")

    monkeypatch.setattr("maskvd_cli.data.imagenet_vid.read_xml", refuse)
    monkeypatch.setattr("maskvd_cli.data.coco_video.read_document", refuse)


@SETS
def test_what_is_kept_says_what_was_read(
    make: Callable[[Path], Dataset], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "set" / ("Data/VID/val/a/000001.JPEG" if make is xml_set else "v/000001.jpg")
    image.parent.mkdir(parents=True)
    image.touch()
    first = make(tmp_path / "set")
    read = told(first)
    whole = first.whole_fingerprint
    no_reading(monkeypatch)
    again = make(tmp_path / "set")
    assert told(again) == read
    assert again.whole_fingerprint == whole == fingerprint(again.classes, again.clips())
    assert len(list(cache.glob("*.npz"))) == 1


@SETS
def test_boxes_of_a_heatmap_are_kept(
    make: Callable[[Path], Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boxes() -> object:
        dataset = make(tmp_path / "set")
        made = gather(dataset, "all")
        arrays = [part.tolist() for part in (made.xyxy, made.frame_of, made.places)]
        numbers = (made.clips, made.frames, made.image_size, made.fingerprint)
        return arrays, numbers, dataset.remarks()

    read = boxes()
    no_reading(monkeypatch)
    assert boxes() == read


@SETS
def test_changed_annotations_are_read_again(
    make: Callable[[Path], Dataset], tmp_path: Path
) -> None:
    before = told(make(tmp_path / "set"))
    file = next((tmp_path / "set").rglob("*.xml" if make is xml_set else "*.json"))
    stat = file.stat()
    # Of the same size, with the time of change put back.
    file.write_text(file.read_text().replace("64", "63"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert told(make(tmp_path / "set")) != before


@SETS
def test_images_that_come_later_are_found(make: Callable[[Path], Dataset], tmp_path: Path) -> None:
    folder = tmp_path / "set" / ("Data/VID/val/a" if make is xml_set else "v")
    for there in (False, True):
        if there:
            folder.mkdir(parents=True)
        assert not any(frame.file for frame in frames(make(tmp_path / "set")))
    file = folder / ("000002.JPEG" if make is xml_set else "000002.jpg")
    file.touch()
    assert [frame.file for frame in frames(make(tmp_path / "set")) if frame.file] == [file]
    file.unlink()
    assert not any(frame.file for frame in frames(make(tmp_path / "set")))


def frames(dataset: Dataset) -> list[Frame]:
    clips: list[Clip] = list(dataset.clips())
    return [frame for clip in clips for frame in clip.frames]


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_a_damaged_entry_is_dropped_and_made_again(
    damage: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = told(xml_set(tmp_path / "set"))
    (entry,) = cache.glob("*.npz")
    content = bytearray(entry.read_bytes())
    content[len(content) // 3] ^= 255
    damaged = {
        "cut": entry.read_bytes()[:-200], "flip": bytes(content), "text": b"no entry", "empty": b"",
    }  # fmt: skip
    entry.write_bytes(damaged[damage])
    assert told(xml_set(tmp_path / "set")) == before
    assert entry.stat().st_size > 500
    assert capsys.readouterr() == ("", "")


def test_a_part_that_was_read_is_not_kept(tmp_path: Path, cache: Path) -> None:
    assert next(xml_set(tmp_path / "set").clips()).name == "a-0"
    assert not cache.exists()


@pytest.mark.parametrize("value", ["off", "OFF"])
def test_off_keeps_nothing(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKVD_CACHE", value)
    told(xml_set(tmp_path / "set"))
    assert cache_folder(tmp_path) is None


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    monkeypatch.delenv("MASKVD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(root) == tmp_path / "xdg/maskvd"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder(root) == tmp_path / "home/.cache/maskvd"
    monkeypatch.setenv("MASKVD_CACHE", str(root / "cache"))
    assert cache_folder(root) is None


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    before = told(xml_set(tmp_path / "set"))
    assert told(xml_set(tmp_path / "set")) == before


def test_small_sets_are_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_clips, "LEAST_FRAMES", 2000)
    told(xml_set(tmp_path / "set"))
    assert not cache.exists()


def test_headers_that_promise_more_are_not_believed(tmp_path: Path) -> None:
    save_entry(tmp_path, "a", {"x": np.arange(4)}, [])
    file = tmp_path / "a.npz"
    loaded = load_entry(tmp_path, "a")
    assert loaded is not None
    assert loaded["x"].tolist() == [0, 1, 2, 3]
    file.write_bytes(file.read_bytes().replace(b"(4,)", b"(9,)"))
    assert load_entry(tmp_path, "a") is None
    assert not file.exists()


def test_the_oldest_entries_go(tmp_path: Path) -> None:
    for number in range(30):
        save_entry(tmp_path, str(number), {"x": np.arange(2)}, [])
    assert len(list(tmp_path.glob("*.npz"))) == 24
