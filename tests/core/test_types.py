from __future__ import annotations

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame
from maskvd_cli.data.base import fingerprint, make_boxes

FRAMES = (
    Frame(0, None, Size(4, 4), make_boxes([[0, 0, 1, 1]], [0], [-1], [False])),
    Frame(1, None, Size(4, 4), make_boxes([], [], [], [])),
)
# The digest of these frames before clips had a video and a label: keys of old results hold it.
BEFORE = "1f82aea06fceae50ea105443aaa57f1150a8355e041dcf2f690f2ddb42b2ab91"


def test_a_clip_without_a_video_is_one_itself() -> None:
    assert Clip("a", FRAMES).video == "a"
    assert Clip("a-5", FRAMES, "a").video == "a"


def test_the_video_does_not_enter_the_fingerprint() -> None:
    found = {fingerprint(["x"], [Clip("a", FRAMES, video)]) for video in ("", "a", "b")}
    assert found == {BEFORE}


def test_a_label_enters_the_fingerprint_where_there_is_one() -> None:
    labels = (None, "walk", "run", 0, 1)
    found = {fingerprint(["x"], [Clip("a", FRAMES, label=label)]) for label in labels}
    assert len(found) == len(labels)
    assert BEFORE in found


def test_the_note_on_boxes_follows_their_numbers() -> None:
    assert BoxTally(read=3).note() is None
    assert BoxTally(1, 1, 0, "a:1").note() == (
        "1 of 1 box reached outside its image and was clipped (first: a:1)"
    )
    assert BoxTally(20240, 1, 0, "a:1").note() == (
        "1 of 20240 boxes reached outside its image and was clipped (first: a:1)"
    )
    assert BoxTally(9, 5, 1, "a:1").note() == (
        "5 of 9 boxes reached outside their image and were clipped, 1 without area inside it was "
        "dropped (first: a:1)"
    )
