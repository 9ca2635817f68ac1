from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.gather import protocol_for
from maskvd_cli.data.images import load_image
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.data.kitti_labels import NATIVE_CLASSES
from maskvd_cli.data.registry import datasets

SEQMAP = "evaluate_tracking.seqmap.training"
PAPER, IGNORE = "maskvd-paper", "kitti-ignore"


def row(frame: object = 0, track: object = 0, kind: str = "Car", box: str = "10 20 30 40") -> str:
    return f"{frame} {track} {kind} 0 0 -1.57 {box} 1.5 1.6 3.9 1.0 1.5 10.0 -1.5"


def through(last: int) -> list[str]:
    """One car in frame 0 and one in frame `last`."""
    return [row(frame) for frame in sorted({0, last})]


def labels(root: Path, rows: Iterable[str], sequence: str = "0000") -> Path:
    file = root / f"training/label_02/{sequence}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{text}\n" for text in rows), encoding="utf-8")
    return file


def image(root: Path, name: str, sequence: str = "0000") -> Path:
    file = root / f"training/image_02/{sequence}/{name}"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (10, 200, 10)).save(file)
    return file


def images(root: Path, numbers: Iterable[int], sequence: str = "0000") -> list[Path]:
    return [image(root, f"{number:06d}.png", sequence) for number in numbers]


def seqmap(root: Path, text: str, below: str = "training") -> Path:
    file = root / below / SEQMAP
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def clips(root: Path, split: str = "train", protocol: str = PAPER) -> list[Clip]:
    return list(Kitti(root, split, protocol).clips())


def numbers(root: Path, split: str = "train", protocol: str = PAPER) -> list[int]:
    (clip,) = clips(root, split, protocol)
    return [frame.index for frame in clip.frames]


def message(root: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        clips(root)
    text = str(caught.value)
    assert "\n" not in text
    return text


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Time of change and size of everything below a folder, and of itself."""
    found = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {str(path): (stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


def test_boxes_by_frame_whatever_the_order_of_rows(tmp_path: Path) -> None:
    labels(
        tmp_path,
        [
            row(2, 5, "Cyclist", "1 2 3 4"),
            row(0, 7, "Pedestrian", "5.5 6 7 8.25"),
            "",
            row(2, 4, "Car", "9 10 11 12"),
        ],
    )
    dataset = Kitti(tmp_path, "train")
    (clip,) = dataset.clips()
    first, empty, last = (frame.boxes for frame in clip.frames)
    assert clip.name == "0000"
    assert dataset.classes == ("pedestrian", "car", "cyclist")
    assert first.xyxy.tolist() == [[5.5, 6, 7, 8.25]]
    assert (first.labels.tolist(), first.track_ids.tolist()) == ([0], [7])
    assert (len(empty), empty.xyxy.shape) == (0, (0, 4))
    assert last.xyxy.tolist() == [[1, 2, 3, 4], [9, 10, 11, 12]]
    assert (last.labels.tolist(), last.track_ids.tolist()) == ([2, 1], [5, 4])


def test_boxes_of_a_frame_keep_their_order(tmp_path: Path) -> None:
    labels(tmp_path, [row(i % 2, i, "Car", f"{i} 0 900 50") for i in range(400)])
    for index, frame in enumerate(clips(tmp_path)[0].frames):
        assert frame.boxes.xyxy[:, 0].tolist() == list(range(index, 400, 2))


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (PAPER, [1, 1, 1, 0, 0, 0, 2]),
        (IGNORE, [1, 1, 1, 0, 0, 0, 2, -1, -1, -1]),
        ("raw", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_classes_by_protocol(protocol: str, expected: list[int], tmp_path: Path) -> None:
    labels(tmp_path, [row(0, track, kind) for track, kind in enumerate(NATIVE_CLASSES)])
    boxes = clips(tmp_path, protocol=protocol)[0].frames[0].boxes
    assert boxes.labels.tolist() == expected
    assert boxes.ignore.tolist() == [label == -1 for label in expected]
    assert boxes.track_ids.tolist() == list(range(len(expected)))
    assert len(boxes.objects) == sum(label >= 0 for label in expected)


def test_native_classes_in_their_order(tmp_path: Path) -> None:
    assert Kitti(tmp_path, protocol="raw").classes == (
        "Car", "Van", "Truck", "Pedestrian", "Person", "Person_sitting", "Cyclist", "Tram",
        "Misc", "DontCare",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("count", "train", "val"),
    [(1, [], [0]), (4, [0, 1], [2, 3]), (5, [0, 1], [2, 3, 4])],
)
def test_halves_of_a_sequence(count: int, train: list[int], val: list[int], tmp_path: Path) -> None:
    labels(tmp_path, through(count - 1))
    assert numbers(tmp_path, "train") == list(range(count))
    assert numbers(tmp_path, "train-half") == train
    assert numbers(tmp_path, "val-half") == val


def test_boxes_of_the_second_half_stay_with_their_frames(tmp_path: Path) -> None:
    labels(tmp_path, [row(frame, 0, "Car", f"{frame} 0 50 50") for frame in range(5)])
    (clip,) = clips(tmp_path, "val-half")
    assert [frame.boxes.xyxy[:, 0].tolist() for frame in clip.frames] == [[2], [3], [4]]


def test_every_sequence_is_halved_by_itself_in_the_order_of_names(tmp_path: Path) -> None:
    for sequence, last in (("0003", 1), ("0001", 3), ("0010", 5)):
        labels(tmp_path, through(last), sequence)
    assert [(clip.name, len(clip)) for clip in clips(tmp_path, "train-half")] == [
        ("0001", 2), ("0003", 1), ("0010", 3),
    ]  # fmt: skip


def test_defaults_come_from_the_registry(tmp_path: Path) -> None:
    dataset = datasets.load("kitti")(tmp_path)
    assert (dataset.split, dataset.protocol) == ("val-half", PAPER)
    assert dataset.training_split == "train-half"
    assert (dataset.canvas, dataset.frame) == (Size(384, 1280), Size(370, 672))


@pytest.mark.parametrize("below", ["", "training"])
def test_root_at_either_level(below: str, tmp_path: Path) -> None:
    labels(tmp_path, through(2))
    assert numbers(tmp_path / below) == [0, 1, 2]


@pytest.mark.parametrize("below", ["training", ""])
@pytest.mark.parametrize("start", ["training", ""])
def test_seqmap_in_both_places_decides_before_the_labels(
    below: str, start: str, tmp_path: Path
) -> None:
    labels(tmp_path, through(2))
    seqmap(tmp_path, "\n0000 empty 000000 000006\n0009 empty 000000 000002\n", below)
    assert numbers(tmp_path / start) == [0, 1, 2, 3, 4, 5]
    assert numbers(tmp_path / start, "val-half") == [3, 4, 5]


def test_labels_decide_for_a_sequence_that_the_seqmap_leaves_out(tmp_path: Path) -> None:
    labels(tmp_path, through(2))
    seqmap(tmp_path, "0001 empty 000000 000006\n")
    assert numbers(tmp_path) == [0, 1, 2]


def test_images_without_a_gap_decide_before_the_seqmap(tmp_path: Path) -> None:
    labels(tmp_path, through(2))
    files = images(tmp_path, range(4))
    seqmap(tmp_path, "0000 empty 000000 000006\n")
    (clip,) = clips(tmp_path)
    assert [frame.file for frame in clip.frames] == files


@pytest.mark.parametrize("present", [[0, 2], [1, 2], [4]])
def test_a_partial_image_folder_does_not_decide(present: list[int], tmp_path: Path) -> None:
    labels(tmp_path, through(5))
    files = images(tmp_path, present)
    (clip,) = clips(tmp_path)
    assert [frame.index for frame in clip.frames] == [0, 1, 2, 3, 4, 5]
    assert {frame.index: frame.file for frame in clip.frames if frame.file} == dict(
        zip(present, files, strict=True)
    )
    seqmap(tmp_path, "0000 empty 000000 000008\n")
    assert len(numbers(tmp_path)) == 8


def test_other_files_beside_the_images_do_not_count(tmp_path: Path) -> None:
    labels(tmp_path, through(1))
    folder = images(tmp_path, range(2))[0].parent
    for name in ("000002.txt", "preview.png", "Thumbs.db"):
        (folder / name).write_text("no frame")
    assert numbers(tmp_path) == [0, 1]


@pytest.mark.parametrize("protocol", [PAPER, IGNORE, "raw"])
def test_rows_that_a_protocol_drops_count_as_frames(protocol: str, tmp_path: Path) -> None:
    """Else the training half under one protocol would hold evaluation frames of another."""
    labels(tmp_path, [row(0), row(3, -1, "DontCare")])
    assert numbers(tmp_path, "val-half", protocol) == [2, 3]


def test_an_empty_label_file_with_a_seqmap(tmp_path: Path) -> None:
    labels(tmp_path, [])
    seqmap(tmp_path, "0000 empty 000000 000003\n")
    (clip,) = clips(tmp_path)
    assert [len(frame.boxes) for frame in clip.frames] == [0, 0, 0]


@pytest.mark.parametrize(
    ("sequence", "size"),
    [
        ("0000", Size(375, 1242)),
        ("0013", Size(375, 1242)),
        ("0014", Size(370, 1224)),
        ("0017", Size(370, 1224)),
        ("0018", Size(374, 1238)),
        ("0019", Size(374, 1238)),
        ("0020", Size(376, 1241)),
        ("0021", Size(375, 1242)),
        ("drive", Size(375, 1242)),
    ],
)
def test_native_sizes_where_images_are_absent(sequence: str, size: Size, tmp_path: Path) -> None:
    labels(tmp_path, [row()], sequence)
    assert clips(tmp_path)[0].frames[0].size == size


@pytest.mark.parametrize("name", ["000002.png", "000001.jpg", "1.png"])
def test_the_size_comes_from_an_image_where_there_is_one(name: str, tmp_path: Path) -> None:
    labels(tmp_path, through(1))
    image(tmp_path, name)
    assert [frame.size for frame in clips(tmp_path)[0].frames] == [Size(40, 60)] * 2


def test_only_the_header_of_the_first_image_is_read(tmp_path: Path) -> None:
    labels(tmp_path, through(2))
    first, *others = images(tmp_path, range(3))
    first.write_bytes(first.read_bytes()[:45])
    for file in others:
        file.write_text("no image")
    (clip,) = clips(tmp_path)
    assert [frame.size for frame in clip.frames] == [Size(40, 60)] * 3
    for frame in clip.frames:
        with pytest.raises(DatasetError, match=re.escape(str(frame.file))):
            load_image(frame)


def test_a_broken_first_image(tmp_path: Path) -> None:
    labels(tmp_path, through(2))
    (file,) = images(tmp_path, [1])
    file.write_text("no image")
    assert message(tmp_path).startswith(f"{file}: not a readable image, or its header is damaged;")


def test_sequences_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    labels(tmp_path, [row()], "0000")
    file = labels(tmp_path, ["broken"], "0001")
    found = Kitti(tmp_path, "train").clips()
    assert next(found).name == "0000"
    with pytest.raises(DatasetError, match=re.escape(f"{file}:1: 1 columns")):
        next(found)


def test_an_image_that_differs_from_the_first(tmp_path: Path) -> None:
    labels(tmp_path, through(1))
    _, second = images(tmp_path, range(2))
    Image.new("RGB", (30, 20)).save(second)
    frame = clips(tmp_path)[0].frames[1]
    with pytest.raises(DatasetError, match=r"image is 20x30 .*, 000000\.png says 40x60"):
        load_image(frame)


def test_boxes_are_cut_at_the_border_and_counted(tmp_path: Path) -> None:
    labels(
        tmp_path,
        [
            row(0, 0, "Car", "0 0 1242 375"),
            row(1, 0, "Car", "-5 -6.5 20 30"),
            row(1, 1, "Car", "1200 300 1300 400"),
            row(1, 2, "Car", "1242 0 1300 50"),
            row(1, 3, "Car", "-9 -9 -1 -1"),
            row(1, 4, "Car", "100 375 120 400"),
            row(1, 5, "Misc", "-1 -1 9 9"),
        ],
    )
    dataset = Kitti(tmp_path, "train")
    whole, cut = next(dataset.clips()).frames
    assert whole.boxes.xyxy.tolist() == [[0, 0, 1242, 375]]
    assert cut.boxes.xyxy.tolist() == [[0, 0, 20, 30], [1200, 300, 1242, 375]]
    assert cut.boxes.track_ids.tolist() == [0, 1]
    assert dataset.tally.note() == (
        "5 of 6 boxes reached outside their image and were clipped, 3 without area inside it "
        "were dropped (first: 0000.txt frame 1)"
    )


def test_reading_twice_counts_once(tmp_path: Path) -> None:
    labels(tmp_path, [row(0), row(1, 0, "Car", "-5 0 20 30")])
    dataset = Kitti(tmp_path, "train")
    assert len([*dataset.clips(), *dataset.clips()]) == 2
    assert (dataset.tally.read, dataset.tally.clipped) == (2, 1)


def test_the_note_where_no_box_was_dropped_and_where_none_was_cut(tmp_path: Path) -> None:
    labels(tmp_path, [row(0), row(1, 0, "Car", "-5 0 20 30")])
    whole, cut = Kitti(tmp_path, "train-half"), Kitti(tmp_path, "val-half")
    assert len([*whole.clips(), *cut.clips()]) == 2
    assert (whole.tally.read, whole.tally.note()) == (1, None)
    assert cut.tally.note() == (
        "1 of 1 box reached outside its image and was clipped (first: 0000.txt frame 1)"
    )


def test_boxes_are_cut_at_the_size_of_the_images(tmp_path: Path) -> None:
    labels(tmp_path, [row(0, 0, "Car", "10 20 100 100")])
    images(tmp_path, [0])
    assert clips(tmp_path)[0].frames[0].boxes.xyxy.tolist() == [[10, 20, 60, 40]]


def test_boxes_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    labels(tmp_path, [row(0, 0, "Car", "10 20 10 40"), row(0, 1, "Car", "10 20 30 40")])
    dataset = Kitti(tmp_path, "train")
    (clip,) = dataset.clips()
    assert clip.frames[0].boxes.xyxy.tolist() == [[10, 20, 30, 40]]
    assert dataset.tally.note() == (
        "0 of 2 boxes reached outside their image and were clipped, 1 without area inside it was "
        "dropped (first: 0000.txt frame 0)"
    )


def test_reading_never_writes(tmp_path: Path) -> None:
    labels(tmp_path, through(3))
    labels(tmp_path, [], "0001")
    images(tmp_path, [0, 2])
    seqmap(tmp_path, "0000 empty 000000 000004\n0001 empty 000000 000004\n")
    before = contents(tmp_path)
    for split in Kitti.splits:
        for clip in clips(tmp_path, split):
            for frame in clip.frames:
                if frame.file:
                    load_image(frame)
    assert contents(tmp_path) == before


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    assert message(folder) == (
        f"{folder}: no such folder; name the folder of the kitti dataset, or draw one: maskvd "
        f"synth -o {folder} --clips 10 --frames 120 --no-images"
    )


@pytest.mark.parametrize("value", [None, ""])
def test_no_folder_at_all(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKVD_KITTI", raising=False)
    if value is not None:
        monkeypatch.setenv("MASKVD_KITTI", value)
    with pytest.raises(DatasetError) as caught:
        Kitti()
    assert str(caught.value) == (
        "kitti: no folder given; name it with --root DIR (in a recipe: dataset.root), or set the "
        "environment variable MASKVD_KITTI"
    )


def test_the_folder_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels(tmp_path, through(1))
    monkeypatch.setenv("MASKVD_KITTI", str(tmp_path))
    assert [len(clip) for clip in Kitti(split="train").clips()] == [2]
    other = tmp_path / "other"
    labels(other, through(4))
    assert [len(clip) for clip in Kitti(other, "train").clips()] == [5]


@pytest.mark.parametrize(
    ("split", "protocol", "expected"),
    [
        ("val-haf", PAPER, "kitti: unknown split 'val-haf' (did you mean 'val-half'?); there are"),
        (
            "train",
            "mask-paper",
            "kitti: unknown protocol 'mask-paper' (did you mean 'maskvd-paper'?);",
        ),
    ],
)
def test_unknown_splits_and_protocols(
    split: str, protocol: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=f"^{re.escape(expected)}"):
        Kitti(tmp_path, split, protocol)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    text = message(tmp_path)
    assert text.startswith(f"{tmp_path}: no KITTI tracking labels (training/label_02) here; name ")
    assert "training/ itself" in text
    assert "`maskvd synth -o DIR` makes" in text


def test_an_empty_label_folder(tmp_path: Path) -> None:
    folder = tmp_path / "training/label_02"
    folder.mkdir(parents=True)
    assert message(tmp_path) == (
        f"{folder}: no label files (0000.txt, ...); unpack KITTI's data_tracking_label_2.zip there"
    )


CUT = "the row is cut short or this is no KITTI tracking label file"
MEND_ROW, MEND_BOX = "correct or remove this row", "correct or remove this box"
OWN_CLASSES = (
    "correct this row, or read your own classes with protocol own (--set dataset.protocol=own)"
)
KNOWN = (
    "there are: Car, Cyclist, DontCare, Misc, Pedestrian, Person, Person_sitting, Tram, Truck, Van"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 Car", f"3 columns, expected 17; {CUT}"),
        (row().rpartition(" ")[0], f"16 columns, expected 17; {CUT}"),
        (f"{row()} 0.9", f"18 columns, expected 17; {CUT}"),
        (row("x"), f"not a number: 'x'; {MEND_ROW}"),
        (row("1.0"), f"not a number: '1.0'; {MEND_ROW}"),
        (row(0, "a:b"), f"not a number: 'a:b'; {MEND_ROW}"),
        (row(0, 0, "Car", "10 20 3o 40"), f"not a number: '3o'; {MEND_ROW}"),
        (row(0, 0, "Car", "nan 20 30 40"), f"box nan 20 30 40 is not finite; {MEND_BOX}"),
        (row(0, 0, "Car", "10 20 30 NaN"), f"box 10 20 30 nan is not finite; {MEND_BOX}"),
        (row(0, 0, "Car", "10 20 inf 40"), f"box 10 20 inf 40 is not finite; {MEND_BOX}"),
        (row(0, 0, "Car", "10 -1e999 30 40"), f"box 10 -inf 30 40 is not finite; {MEND_BOX}"),
        (row(0, 0, "Misc", "30 20 10 40"), f"box has x2 < x1 (10 < 30); {MEND_BOX}"),
        (row(0, 0, "Car", "10 40.5 10 20"), f"box has y2 < y1 (20 < 40.5); {MEND_BOX}"),
        (row(-1), f"negative frame -1; frames count from 0; {MEND_ROW}"),
        (row(10**6), f"frame {10**6} or track 0 is too large; {MEND_ROW}"),
        (row(10**30), f"frame {10**30} or track 0 is too large; {MEND_ROW}"),
        (row(0, 2**63), f"frame 0 or track {2**63} is too large; {MEND_ROW}"),
        (
            row(0, 0, "Cyclyst"),
            f"unknown class 'Cyclyst' (did you mean 'Cyclist'?); {KNOWN}; {OWN_CLASSES}",
        ),
        (
            row(0, 0, "car"),
            f"unknown class 'car' (did you mean 'Car'?); {KNOWN}; {OWN_CLASSES}",
        ),
        (row(0, 0, "zebra"), f"unknown class 'zebra'; {KNOWN}; {OWN_CLASSES}"),
    ],
)
def test_bad_rows_are_told_by_their_line(text: str, expected: str, tmp_path: Path) -> None:
    file = labels(tmp_path, [row(1, 1), "", text, row(0, 2)])
    assert message(tmp_path) == f"{file}:3: {expected}"


@pytest.mark.parametrize("protocol", [PAPER, IGNORE, "raw"])
def test_bad_rows_are_refused_even_where_the_protocol_drops_them(
    protocol: str, tmp_path: Path
) -> None:
    file = labels(tmp_path, [row(), row(0, -1, "DontCare", "30 20 10 40")])
    with pytest.raises(DatasetError, match=f"^{re.escape(str(file))}:2: box has x2 < x1"):
        clips(tmp_path, protocol=protocol)


@pytest.mark.parametrize("track", [0, 1])
def test_a_track_twice_in_a_frame(track: int, tmp_path: Path) -> None:
    rows = [row(0, track), row(1, 7), row(1, track), row(2, track), row(1, track, "Van", "1 2 3 4")]
    file = labels(tmp_path, rows)
    assert message(tmp_path) == (
        f"{file}:3: frame 1 has track {track} twice; remove the duplicate rows"
    )


@pytest.mark.parametrize("protocol", [IGNORE, "raw"])
def test_regions_without_a_track_may_repeat(protocol: str, tmp_path: Path) -> None:
    labels(tmp_path, [row(0, -1, "DontCare"), row(0, -1, "DontCare")])
    assert len(clips(tmp_path, protocol=protocol)[0].frames[0].boxes) == 2


@pytest.mark.parametrize("kind", ["Car", "DontCare"])
def test_a_frame_beyond_the_count(kind: str, tmp_path: Path) -> None:
    file = labels(tmp_path, [row(0), row(4, -1, kind)])
    seqmap(tmp_path, "0000 empty 000000 000004\n")
    tail = "gives {} frames (0..{}); complete the images, or correct the label file"
    assert message(tmp_path) == f"{file}: names frame 4, but {SEQMAP} {tail.format(4, 3)}"
    # Three images of a longer sequence are samples; the seqmap still tells how long it is.
    images(tmp_path, range(3))
    assert message(tmp_path) == f"{file}: names frame 4, but {SEQMAP} {tail.format(4, 3)}"


def test_a_frame_with_two_images(tmp_path: Path) -> None:
    labels(tmp_path, through(1))
    image(tmp_path, "000001.png")
    folder = image(tmp_path, "000001.jpg").parent
    assert message(tmp_path) == (
        f"{folder}: frame 1 is there twice: 000001.jpg and 000001.png; keep one of them"
    )


@pytest.mark.parametrize(
    "line",
    [
        "0000 empty 000000",
        "0000 empty 000000 000004 x",
        "0000 empty 000000 four",
        "0000 empty x 000004",
        "0000 empty 000000 -4",
        "0000 empty 000000 000000",
        "0000 empty 000009 000004",
        "0000 empty 000001 000004",
    ],
)
def test_a_bad_line_of_the_seqmap(line: str, tmp_path: Path) -> None:
    labels(tmp_path, [])
    file = seqmap(tmp_path, f"0001 empty 000000 000004\n  {line}\n")
    assert message(tmp_path) == (
        f"{file}:2: '{line}' is not `sequence empty 000000 frames`; restore the file from the "
        "benchmark's development kit"
    )


@pytest.mark.parametrize("broken", ["labels", "seqmap"])
def test_files_that_are_not_text(broken: str, tmp_path: Path) -> None:
    files = {"labels": labels(tmp_path, [row()]), "seqmap": seqmap(tmp_path, "0000 empty 0 1\n")}
    file = files[broken]
    file.write_bytes(file.read_bytes() + b"\xff\xfe")
    assert message(tmp_path).startswith(f"{file}: cannot be read ('utf-8' codec can't decode byte")
    assert message(tmp_path).endswith(
        "; unpack it again from the benchmark's archive, as plain text"
    )


def test_an_empty_label_file_and_nothing_that_tells_the_frames(tmp_path: Path) -> None:
    file = labels(tmp_path, [])
    assert message(tmp_path) == (
        f"{file}: no rows, and neither images nor a seqmap tell how many frames there are; add the "
        f"images or {SEQMAP}"
    )


# The real labels

ROWS_BY_CLASS = {
    "Car": 27300,
    "DontCare": 18039,
    "Pedestrian": 11470,
    "Van": 3301,
    "Cyclist": 1938,
    "Truck": 1189,
    "Misc": 793,
    "Person": 676,
    "Tram": 595,
}
FRAMES = (
    154, 447, 233, 144, 314, 297, 270, 800, 390, 803, 294, 373, 78, 340, 106, 376, 209, 145, 339,
    1059, 837,
)  # fmt: skip


def test_every_row_of_the_real_labels(kitti_root: Path) -> None:
    dataset = Kitti(kitti_root, "train", "raw")
    found: Counter[int] = Counter()
    for clip in dataset.clips():
        for frame in clip.frames:
            found.update(frame.boxes.labels.tolist())
    assert {dataset.classes[label]: rows for label, rows in found.items()} == ROWS_BY_CLASS
    assert found.total() == dataset.tally.read == 65301


@pytest.mark.parametrize(
    ("split", "total"), [("train", 8008), ("train-half", 3999), ("val-half", 4009)]
)
def test_frames_of_the_real_splits(split: str, total: int, kitti_root: Path) -> None:
    expected = {
        "train": [count for count in FRAMES],
        "train-half": [count // 2 for count in FRAMES],
        "val-half": [count - count // 2 for count in FRAMES],
    }
    found = clips(kitti_root, split)
    assert [clip.name for clip in found] == [f"{number:04d}" for number in range(21)]
    assert [len(clip) for clip in found] == expected[split]
    assert sum(len(clip) for clip in found) == total


def test_sizes_of_the_real_sequences(kitti_root: Path) -> None:
    sizes = [{frame.size for frame in clip.frames} for clip in clips(kitti_root)]
    assert sizes == (
        [{Size(375, 1242)}] * 14
        + [{Size(370, 1224)}] * 4
        + [{Size(374, 1238)}] * 2
        + [{Size(376, 1241)}]
    )


def test_protocols_of_the_real_labels(kitti_root: Path) -> None:
    found: Counter[int] = Counter()
    for clip in clips(kitti_root, protocol=IGNORE):
        for frame in clip.frames:
            found.update(frame.boxes.labels.tolist())
    assert found == {
        0: 11470 + 676,
        1: 27300 + 3301 + 1189,
        2: 1938,
        -1: 18039 + 793 + 595,
    }


def test_real_images_load_and_absent_ones_say_so(kitti_root: Path) -> None:
    frames = clips(kitti_root)[1].frames
    pixels = load_image(frames[10])
    assert pixels.shape == (375, 1242, 3)
    assert pixels.std() > 10
    stored = sorted(int(file.stem) for file in kitti_root.glob("training/image_02/0001/*.png"))
    assert [frame.index for frame in frames if frame.file] == stored
    assert {10, 15, 20} <= set(stored)
    with pytest.raises(DatasetError) as caught:
        load_image(frames[11])
    folder = kitti_root.resolve() / "training/image_02/0001"
    assert str(caught.value).startswith(
        f"frame 11 of clip 0001 has no image here (000011.png, looked for in {folder}); the "
        "annotations are"
    )


# Samples, sizes, pipes and classes of one's own


@pytest.mark.parametrize("with_seqmap", [False, True])
def test_a_few_sample_images_do_not_cut_a_sequence_short(with_seqmap: bool, tmp_path: Path) -> None:
    labels(tmp_path, through(9))
    stored = images(tmp_path, range(2))
    if with_seqmap:
        seqmap(tmp_path, "0000 empty 000000 000012\n")
    (clip,) = clips(tmp_path)
    assert len(clip) == (12 if with_seqmap else 10)
    assert [frame.file for frame in clip.frames[:3]] == [*stored, None]


@pytest.mark.parametrize("name", ["000001.PNG", "000001.jpeg", "000001.JPG", "000001.Jpeg"])
def test_suffixes_of_images_in_any_case(name: str, tmp_path: Path) -> None:
    labels(tmp_path, through(1))
    file = image(tmp_path, name)
    assert [frame.file for frame in clips(tmp_path)[0].frames] == [None, file]


@pytest.mark.parametrize("frame", [199_999, 150_000, 11_000])
def test_one_row_does_not_make_a_hundred_thousand_frames(frame: int, tmp_path: Path) -> None:
    file = labels(tmp_path, [row(0), row(frame) + " "][1:])
    assert message(tmp_path) == (
        f"{file}:1: frame {frame} in a file of 1 row; correct or remove this row, or add {SEQMAP}"
    )


@pytest.mark.parametrize("frame", [200_000, 999_999, 10**9])
def test_frames_beyond_the_limit_are_told_by_their_line(frame: int, tmp_path: Path) -> None:
    file = labels(tmp_path, [row(0), row(frame)])
    assert message(tmp_path) == (
        f"{file}:2: frame {frame} or track 0 is too large; correct or remove this row"
    )


def test_few_rows_far_apart_are_read(tmp_path: Path) -> None:
    labels(tmp_path, [row(0), row(9_999)])
    (clip,) = clips(tmp_path)
    assert [len(frame.boxes) for frame in (clip.frames[0], clip.frames[1], clip.frames[-1])] == [
        1, 0, 1,
    ]  # fmt: skip
    assert len(clip) == 10_000


@pytest.mark.parametrize("count", ["99999999", "200001", "9" * 18])
def test_a_seqmap_of_too_many_frames(count: str, tmp_path: Path) -> None:
    labels(tmp_path, [row(0)])
    file = seqmap(tmp_path, f"0000 empty 000000 {count}\n")
    assert message(tmp_path) == (
        f"{file}:1: {int(count)} frames are more than the 200000 of a sequence; correct the number "
        "of frames, or cut the sequence"
    )


def test_a_number_of_thousands_of_digits(tmp_path: Path) -> None:
    file = labels(tmp_path, [row("9" * 5000)])
    assert message(tmp_path).startswith(f"{file}:1: not a number: '{'9' * 60}';")
    seqmap(tmp_path, f"0000 empty 000000 {'9' * 5000}\n")
    labels(tmp_path, [row(0)])
    assert "is not `sequence empty 000000 frames`" in message(tmp_path)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    file = labels(tmp_path, through(1))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert numbers(tmp_path) == [0, 1]
    file = seqmap(tmp_path, "")
    file.write_bytes(b"\xef\xbb\xbf0000 empty 000000 000004\n")
    assert numbers(tmp_path) == [0, 1, 2, 3]


def test_pipes_in_place_of_files_do_not_hang(tmp_path: Path) -> None:
    file = labels(tmp_path, through(1))
    file.unlink()
    os.mkfifo(file)
    assert message(tmp_path).startswith(f"{file}: cannot be read (")
    assert "not a regular file" in message(tmp_path)
    file.unlink()
    labels(tmp_path, through(1))
    folder = image(tmp_path, "000001.png").parent
    os.mkfifo(folder / "000000.png")
    assert message(tmp_path).startswith(f"{folder}/000000.png: not a readable image (not a regular")


OWN_ROWS = [
    row(0, 0, "zebra", "1 2 30 20"), row(0, -1, "DontCare", "1 2 30 20"),
    row(1, 0, "Antelope", "1 2 30 20"), row(1, 1, "Car", "1 2 30 20"),
]  # fmt: skip


def test_classes_of_ones_own(tmp_path: Path) -> None:
    labels(tmp_path, OWN_ROWS)
    images(tmp_path, [0])
    dataset = Kitti(tmp_path, "train", "own")
    assert dataset.classes == ("Antelope", "Car", "zebra")
    first, second = (frame.boxes for frame in next(dataset.clips()).frames)
    assert (first.labels.tolist(), first.ignore.tolist()) == ([2, -1], [False, True])
    assert second.labels.tolist() == [0, 1]


def test_own_data_need_an_image_for_their_size(tmp_path: Path) -> None:
    labels(tmp_path, OWN_ROWS)
    with pytest.raises(DatasetError) as caught:
        clips(tmp_path, protocol="own")
    assert str(caught.value) == (
        f"{tmp_path}/training/image_02/0000: no image of sequence 0000, so nothing tells how large "
        "its frames are; put one or more of its images there (000000.png, ...)"
    )


def test_a_heatmap_of_own_classes_is_read_under_their_protocol() -> None:
    assert protocol_for("all", Kitti, "own") == "own"
    assert protocol_for(["zebra"], Kitti, "own") == "own"
    assert protocol_for("all", Kitti, PAPER) == "raw"
    assert protocol_for("protocol", Kitti, IGNORE) == PAPER
