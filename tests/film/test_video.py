"""Videos of a user: decoded in order, turned as their metadata says, refused in one line."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.film.video import Video

SIZE = Size(48, 64)


def write_video(path: Path, frames: int = 6, size: Size = SIZE, rate: int = 12) -> Path:
    """Write a video whose frames get lighter, the left half red, every third one shown longer."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = size.cols, size.rows, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        shown = 0
        for number in range(frames):
            pixels = np.full((*size, 3), 40 + 20 * (number % 10), dtype=np.uint8)
            pixels[:, : size.cols // 2] = (200, 20, 20)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = shown, Fraction(1, 1000)
            shown += 250 if number % 3 == 2 else 1000 // rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def grey(frame: np.ndarray) -> float:
    return float(frame[:, frame.shape[1] * 3 // 4 :].mean())


def test_frames_come_in_order_and_are_capped(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "v.mp4"), 4)
    assert (video.frames, video.size, video.whole) == (4, Size(48, 64), True)
    frames = list(video)
    np.testing.assert_allclose([grey(frame) for frame in frames], [40, 60, 80, 100], atol=4)
    assert frames[0].dtype == np.uint8
    assert Video(tmp_path / "v.mp4", 100).frames == 6


def test_a_turned_video_is_turned_back(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4", 2)
    content = bytearray(path.read_bytes())
    # The matrix of the track's header: upright, and as a phone writes it that was held upright.
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    at = content.index(upright, content.index(b"tkhd"))
    content[at : at + len(turned)] = turned
    path.write_bytes(content)
    video = Video(path, 2)
    assert video.size == Size(64, 48)
    frame = next(iter(video))
    # A quarter clockwise: what was at the left is at the top.
    assert frame[:28, :, 0].mean() > 180
    assert abs(frame[36:].mean() - 40) < 6


@pytest.mark.parametrize("name", ["absent.mp4", "text.mp4", "empty.mp4", "sound.wav"])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.mp4").write_text("no video at all\n" * 40)
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DatasetError, match=name) as caught:
        Video(tmp_path / name, 5)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_video_without_a_usable_picture_size_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mp4", 2)
    content = path.read_bytes()
    # A codec that nobody knows: there is nothing that could tell a size.
    path.write_bytes(content.replace(b"avc1", b"zz9z").replace(b"avcC", b"zz9C"))
    with pytest.raises(DatasetError, match=r"odd\.mp4: ") as caught:
        Video(path, 5)
    assert "\n" not in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("size", [(0, 64), (48, 0), (1 << 20, 64)])
def test_frames_without_a_usable_size_are_refused(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", 2)

    class Frame:
        height, width = size

    monkeypatch.setattr("maskvd_cli.film.video._frames", lambda *_: iter([Frame()]))
    with pytest.raises(DatasetError, match="its frames have no usable size, "):
        Video(path, 5)


def test_a_cut_video_gives_what_can_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    write_video(path, 60, Size(240, 320))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = Video(path, 60)
    assert 0 < video.frames < 60
    assert len(list(video)) == video.frames


def test_files_that_name_other_places_are_not_followed(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(DatasetError):
        Video(playlist, 5)
