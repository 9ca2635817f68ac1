"""Frames of video files by their time: exact in any order, and one line for what is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError, MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.data.video_files import Decoder, facts_of

from .drawn_videos import number_of, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "v.mp4", 50)


def test_facts_are_those_of_the_file(video: Path) -> None:
    facts = facts_of(video)
    assert facts.size == Size(64, 96)
    assert facts.seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("kept", [1 << 28, 1])
def test_every_frame_is_found_in_any_order(video: Path, kept: int) -> None:
    decoder = Decoder(kept)
    places = [*range(50), *np.random.default_rng(0).permutation(50).tolist()]
    assert [number_of(decoder.at(video, place / 25)) for place in places] == places


def test_between_two_frames_the_one_before_is_shown(video: Path) -> None:
    decoder = Decoder()
    found = [number_of(decoder.at(video, time)) for time in (0.0, 0.03, 0.041, 1.999, 9.0, -1.0)]
    assert found == [0, 0, 1, 49, 49, 0]


def test_a_decoder_changes_between_files(video: Path, tmp_path: Path) -> None:
    other = write_video(tmp_path / "other.mkv", 10, size=(32, 32))
    decoder = Decoder()
    for time in (0.2, 0.0):
        assert decoder.at(other, time).shape == (32, 32, 3)
        assert decoder.at(video, time).shape == (64, 96, 3)
    decoder.close()
    decoder.close()


def test_what_is_no_video_is_told_in_one_line(video: Path, tmp_path: Path) -> None:
    cases = {
        "text.mp4": (b"no video at all" * 50, "cannot be decoded as a video"),
        "list.mp4": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "cannot be decoded as a video"),
        "empty.webm": (b"", "cannot be decoded as a video"),
        "video.txt": (b"", r"is none of \.mp4"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=message) as caught:
            facts_of(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "half.mp4").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(DatasetError, match=r"cannot be decoded as a video|no frame"):
        facts_of(tmp_path / "half.mp4")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("pipe.mp4", "folder.mp4", "none.mp4"):
        with pytest.raises(DatasetError, match=r"regular|directory|No such file"):
            facts_of(tmp_path / name)


def test_a_file_with_sound_alone_is_told(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DatasetError, match="holds no video stream"):
        facts_of(path)


def test_a_file_may_be_opened_again_after_an_error(video: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"x" * 99)
    decoder = Decoder()
    with pytest.raises(DatasetError):
        decoder.at(tmp_path / "bad.mp4", 0.0)
    assert number_of(decoder.at(video, 0.4)) == 10


def test_without_pyav_the_extra_is_named(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MaskvdError, match=r"need PyAV.*maskvd\[film\]"):
        facts_of(video)
