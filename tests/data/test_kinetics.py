"""Kinetics-400's layout: tables, files in two arrangements, frames at 25 per second."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.data.kinetics import Kinetics400
from maskvd_cli.data.registry import datasets

from .drawn_videos import number_of, write_video

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def write_table(root: Path, *rows: str, split: str = "val", folder: str = "annotations") -> Path:
    table = root / folder / f"{split}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(HEADER + "".join(f"{row}\n" for row in rows), "utf-8")
    return table


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("kinetics")
    write_table(
        made, "yoga,-_idA,3,13,val,0", "abseiling,bbb,10,20,val,0", '"yoga",gone,0,10,val,0'
    )
    write_table(made, "zumba,ccc,0,10,train,0", split="train", folder="")
    write_video(made / "val" / "-_idA_000003_000013.mp4", 20, rate=25)
    write_video(made / "val" / "abseiling" / "bbb_000010_000020.mkv", 40, rate=50, size=(32, 48))
    return made


def test_it_is_registered() -> None:
    assert datasets.load("kinetics-400") is Kinetics400


def test_clips_have_classes_of_all_tables(root: Path) -> None:
    dataset = Kinetics400(root)
    assert dataset.classes == ("abseiling", "yoga", "zumba")
    first, second = dataset.clips()
    assert (first.name, first.label, first.video) == ("-_idA_000003_000013", 1, "-_idA")
    assert (second.name, second.label, len(second)) == ("bbb_000010_000020", 0, 20)
    assert first.frames[0].size == Size(64, 96)
    assert dataset.frames_per_s(first) == 25.0
    assert dataset.remarks() == [
        "1 video of split val of kinetics-400 were not there and are left out (first: "
        "gone_000000_000010.mp4)."
    ]


def test_frames_are_taken_at_25_per_second(root: Path) -> None:
    dataset = Kinetics400(root)
    first, second = dataset.clips()
    assert [number_of(dataset.image(frame)) for frame in first.frames] == list(range(20))
    # Every second one of 50 per second.
    assert [number_of(dataset.image(frame)) for frame in second.frames] == list(range(0, 40, 2))
    assert [frame.index for frame in second.frames[3:5]] == [3, 4]


def test_the_fingerprint_tells_labels_and_lengths_apart(root: Path, tmp_path: Path) -> None:
    def fingerprint(*rows: str, frames: int = 10) -> str | None:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        write_table(folder, *rows)
        write_video(folder / "val" / "aaa_000000_000010.mp4", frames)
        dataset = Kinetics400(folder)
        (clip,) = [clip for clip in dataset.clips() if clip.video == "aaa"]
        assert dataset.image_fingerprint([clip]) is not None
        return dataset.whole_fingerprint

    rows = ("run,aaa,0,10,val,0", "sit,bbb,0,10,val,0")
    same = fingerprint(*rows)
    assert same == fingerprint(*rows) != None  # noqa: E711
    assert same != fingerprint(*rows, frames=12)
    assert same != fingerprint("sit,aaa,0,10,val,0", "run,bbb,0,10,val,0")


def test_what_files_say_is_kept_until_one_changes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    write_table(folder, "run,aaa,0,10,val,0")
    video = write_video(folder / "val" / "aaa_000000_000010.mp4", 10)
    assert [len(clip) for clip in Kinetics400(folder).clips()] == [10]

    def fail(path: Path) -> None:
        raise AssertionError(path)

    with monkeypatch.context() as patched:
        patched.setattr("maskvd_cli.data.video_sets.facts_of", fail)
        assert [len(clip) for clip in Kinetics400(folder).clips()] == [10]
    write_video(video, 15)
    assert [len(clip) for clip in Kinetics400(folder).clips()] == [15]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "run,../../etc/passwd,0,10,val,0",
            r"line 2: youtube_id '\.\./\.\./etc/passwd' is no name",
        ),
        ("run,aaa,x,10,val,0", "line 2: time_start is 'x'"),
        ("run,aaa,0,1e99,val,0", "line 2: time_end is '1e99'"),
        ("run,aaa", "line 2: a row has too few columns"),
    ],
)
def test_rows_that_cannot_be_used_are_told(row: str, message: str, tmp_path: Path) -> None:
    write_table(tmp_path, row)
    with pytest.raises(DatasetError, match=message):
        list(Kinetics400(tmp_path).clips())


def test_tables_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such table"):
        list(Kinetics400(tmp_path).clips())
    table = write_table(tmp_path, "run,aaa,0,10,val,0")
    with pytest.raises(DatasetError, match="none of 1 video of split val is here"):
        list(Kinetics400(tmp_path).clips())
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="is no CSV file"):
        list(Kinetics400(tmp_path).clips())
    table.write_text("name,id\n")
    with pytest.raises(DatasetError, match="has no column label; there are: name, id"):
        list(Kinetics400(tmp_path).clips())
