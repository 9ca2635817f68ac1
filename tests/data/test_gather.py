from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes, Clip, Frame
from maskvd_cli.data.base import Dataset, fingerprint, make_boxes
from maskvd_cli.data.gather import gather, protocol_for

Row = tuple[int, float, float, float, float]

SMALL, LARGE = Size(100, 200), Size(300, 400)


class Given(Dataset):
    """Clips that a test made."""

    name = "given"
    description = "clips in memory"
    env = "MASKVD_GIVEN"
    splits = ("all",)
    protocols = ("merged", "other")
    evaluation_split = training_split = "all"
    made: tuple[Clip, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return ("cat", "dog", "emu")

    def clips(self) -> Iterator[Clip]:
        yield from self.made


def given_clips(made: Iterable[Clip]) -> Given:
    dataset = Given(Path())
    dataset.made = tuple(made)
    return dataset


def boxes(*rows: Row) -> Boxes:
    """Boxes from rows of label and corners; label -1 makes an ignore region."""
    labels = [label for label, *_ in rows]
    corners = [(x1, y1, x2, y2) for _, x1, y1, x2, y2 in rows]
    return make_boxes(corners, labels, range(len(rows)), [label < 0 for label in labels])


def clip(name: str, *frames: Boxes, size: Size = SMALL, start: int = 0) -> Clip:
    made = [Frame(start + index, None, size, found) for index, found in enumerate(frames)]
    return Clip(name, tuple(made))


def two_clips() -> Given:
    return given_clips(
        [
            clip("a", boxes((0, 1, 1, 9, 9), (-1, 2, 2, 9, 9)), boxes(), boxes((1, 3, 3, 9, 9))),
            clip("b", boxes((2, 4, 4, 9, 9), (0, 5, 5, 9, 9)), size=LARGE),
        ]
    )


@pytest.mark.parametrize(
    ("classes", "left_edges", "frame_of"),
    [
        ("all", [1, 2, 3, 4, 5], [0, 0, 2, 3, 3]),
        ("protocol", [1, 3, 4, 5], [0, 2, 3, 3]),
        ("cat", [1, 5], [0, 3]),
        (["dog"], [3], [2]),
        (("emu", "cat"), [1, 4, 5], [0, 3, 3]),
        ([], [], []),
    ],
)
def test_boxes_by_class_and_the_frames_they_are_in(
    classes: str | list[str], left_edges: list[float], frame_of: list[int]
) -> None:
    gathered = gather(two_clips(), classes)
    assert gathered.xyxy[:, 0].tolist() == left_edges
    assert gathered.xyxy.shape == (len(left_edges), 4)
    assert gathered.frame_of.tolist() == frame_of
    assert (gathered.xyxy.dtype, gathered.frame_of.dtype) == (np.float64, np.int64)
    assert (gathered.clips, gathered.frames) == (2, 4)


def test_only_the_first_clips() -> None:
    gathered = gather(two_clips(), "all", None, 1)
    assert gathered.xyxy[:, 0].tolist() == [1, 2, 3]
    assert (gathered.clips, gathered.frames) == (1, 3)
    assert gathered.fingerprint != gather(two_clips(), "all").fingerprint
    assert gather(two_clips(), "all", None, 9).fingerprint == gather(two_clips(), "all").fingerprint


@pytest.mark.parametrize(
    ("name", "hint"), [("dgo", " (did you mean 'dog'?)"), ("all-of-them", ""), ("Protocol", "")]
)
def test_unknown_classes(name: str, hint: str) -> None:
    for classes in (name, ["cat", name]):
        with pytest.raises(DatasetError) as caught:
            gather(two_clips(), classes)
        assert str(caught.value) == (
            f"given: unknown class '{name}'{hint}; there are: cat, dog, emu; or use all, or "
            "protocol"
        )


@pytest.mark.parametrize(
    ("classes", "protocol"),
    [("protocol", "merged"), ("all", "raw"), ("cat", "raw"), (["cat"], "raw")],
)
def test_the_protocol_that_classes_are_read_under(classes: str | list[str], protocol: str) -> None:
    assert protocol_for(classes, Given) == protocol


def test_without_an_input_boxes_stay_in_native_pixels() -> None:
    found = boxes((0, 10, 20, 30.5, 40))
    assert gather(given_clips([clip("a", found)]), "all").xyxy.tolist() == [[10, 20, 30.5, 40]]


def test_boxes_are_stretched_by_the_size_of_their_own_frame() -> None:
    whole = [
        clip("a", boxes((0, 0, 0, 200, 100))),
        clip("b", boxes((0, 0, 0, 200, 150)), size=LARGE),
    ]
    gathered = gather(given_clips(whole), "all", (Size(64, 64), Size(50, 60)))
    assert gathered.xyxy.tolist() == [
        pytest.approx([0, 0, 60, 50]),
        pytest.approx([0, 0, 30, 25]),
    ]


def test_boxes_are_fitted_where_no_frame_size_is_given() -> None:
    whole = clip("a", boxes((0, 0, 0, 1280, 720), (0, 640, 360, 1280, 720)), size=Size(720, 1280))
    gathered = gather(given_clips([whole]), "all", (Size(672, 672), None))
    assert gathered.xyxy.tolist() == [
        pytest.approx([0, 0, 672, 378]),
        pytest.approx([336, 189, 672, 378]),
    ]


def test_the_image_size_is_the_most_frequent_one_of_frames() -> None:
    rare = [clip(name, boxes(), size=SMALL) for name in "abc"]
    often = clip("d", *[boxes()] * 4, size=LARGE)
    assert gather(given_clips([*rare, often]), "all").image_size == LARGE
    assert gather(given_clips(rare), "all").image_size == SMALL


@pytest.mark.parametrize("made", [[], [Clip("a", ())]])
def test_no_frames(made: list[Clip]) -> None:
    gathered = gather(given_clips(made), "all", (Size(64, 64), None))
    assert (gathered.clips, gathered.frames) == (len(made), 0)
    assert (gathered.xyxy.shape, gathered.frame_of.shape) == ((0, 4), (0,))
    assert gathered.image_size is None


def test_frames_without_boxes() -> None:
    gathered = gather(given_clips([clip("a", boxes(), boxes())]), "all")
    assert (gathered.frames, gathered.xyxy.shape) == (2, (0, 4))


BOX = (0, 10.0, 20.0, 30.0, 40.0)


@pytest.mark.parametrize(
    "changed",
    [
        [clip("a", boxes((0, 10, 20, 30, 40.5)), boxes())],
        [clip("a", boxes((1, 10, 20, 30, 40)), boxes())],
        [clip("a", boxes((-1, 10, 20, 30, 40)), boxes())],
        [clip("a", boxes(BOX, BOX), boxes())],
        [clip("a", boxes(), boxes())],
        [clip("a", boxes(), boxes(BOX))],
        [clip("a", boxes(BOX))],
        [clip("b", boxes(BOX), boxes())],
        [clip("a", boxes(BOX), boxes(), start=1)],
        [clip("a", boxes(BOX), boxes(), size=LARGE)],
        [clip("a", boxes(BOX)), clip("a", boxes())],
    ],
)
def test_the_fingerprint_tells_any_change_of_the_annotations(changed: list[Clip]) -> None:
    original = gather(given_clips([clip("a", boxes(BOX), boxes())]), "all").fingerprint
    assert gather(given_clips(changed), "all").fingerprint != original


def test_the_fingerprint_tells_class_names_apart() -> None:
    one = [clip("a", boxes(BOX))]
    assert fingerprint(("car", "bus"), one) != fingerprint(("bus", "car"), one)


def test_the_fingerprint_tells_tracks_apart() -> None:
    found = [make_boxes([BOX[1:]], [0], [track], [False]) for track in (3, 4)]
    assert len({fingerprint(("car",), [clip("a", one)]) for one in found}) == 2


def test_the_fingerprint_does_not_depend_on_what_is_asked_for() -> None:
    found = {
        gather(two_clips(), "all").fingerprint,
        gather(two_clips(), ["cat"]).fingerprint,
        gather(two_clips(), "all", (Size(64, 64), None)).fingerprint,
        fingerprint(two_clips().classes, two_clips().clips()),
    }
    assert len(found) == 1


@given(st.lists(st.lists(st.integers(-1, 2), max_size=4), max_size=6))
def test_every_box_belongs_to_its_frame(labels: list[list[int]]) -> None:
    """Each box carries its frame's number as its left edge."""
    frames = [
        boxes(*[(label, float(index), 0.0, 100.0, 50.0) for label in found])
        for index, found in enumerate(labels)
    ]
    halves = [clip("a", *frames[: len(frames) // 2]), clip("b", *frames[len(frames) // 2 :])]
    for classes, least in (("all", -1), ("protocol", 0)):
        gathered = gather(given_clips(halves), classes)
        assert gathered.xyxy[:, 0].tolist() == gathered.frame_of.tolist()
        assert len(gathered.frame_of) == sum(label >= least for row in labels for label in row)
