from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Frame, Sought
from maskvd_cli.data.base import make_boxes
from maskvd_cli.data.images import image_size, images_fingerprint, load_image

SIZE = Size(rows=40, cols=60)
AGAIN = "fetch or copy the image again"


def frame(file: Path | None, size: Size = SIZE) -> Frame:
    return Frame(7, file, size, make_boxes([], [], [], []), "the table")


def noise(file: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(values).save(file)
    return file


def huge(file: Path, side: int) -> Path:
    """A PNG of a few bytes whose header promises `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


def message(call: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def both_messages(file: Path) -> str:
    """The message of a file that neither function accepts; it must be the same."""
    text = message(lambda: load_image(frame(file)))
    assert message(lambda: image_size(file)) == text
    return text


def test_size_and_pixels_of_an_image(tmp_path: Path) -> None:
    file = tmp_path / "000007.png"
    image = Image.new("RGB", (SIZE.cols, SIZE.rows), (10, 20, 30))
    image.putpixel((59, 0), (1, 2, 3))
    image.save(file)
    pixels = load_image(frame(file))
    assert image_size(file) == SIZE
    assert (pixels.shape, pixels.dtype) == ((40, 60, 3), np.uint8)
    assert pixels[0, 59].tolist() == [1, 2, 3]
    assert pixels[39, 0].tolist() == [10, 20, 30]


def test_the_size_needs_no_more_than_the_header(tmp_path: Path) -> None:
    file = noise(tmp_path / "a.png")
    file.write_bytes(file.read_bytes()[:60])
    assert image_size(file) == SIZE


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    size = (SIZE.cols, SIZE.rows)
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "palette.png")
    Image.new("L", size, 90).save(tmp_path / "grey.png")
    Image.new("RGBA", size, (5, 6, 7, 0)).save(tmp_path / "alpha.png")
    found = {file.stem: load_image(frame(file)) for file in tmp_path.iterdir()}
    assert {pixels.shape for pixels in found.values()} == {(40, 60, 3)}
    assert {name: pixels[3, 4].tolist() for name, pixels in found.items()} == {
        "palette": [200, 100, 50],
        "grey": [90, 90, 90],
        "alpha": [5, 6, 7],
    }


def test_a_frame_without_an_image() -> None:
    assert message(lambda: load_image(frame(None))) == (
        "frame 7 has no image here; the annotations are enough for a planned sweep; for more, add "
        "the images"
    )


def test_an_image_that_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "gone.png"
    assert both_messages(file) == f"{file}: no such image; {AGAIN}"


def test_an_image_of_another_size(tmp_path: Path) -> None:
    file = noise(tmp_path / "a.png")
    transposed = Size(SIZE.cols, SIZE.rows)
    assert message(lambda: load_image(frame(file, transposed))) == (
        f"{file}: image is 40x60 (rows x columns), the table says 60x40; the images belong to "
        "other annotations, or were resized: use the originals"
    )


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_image(suffix: str, share: float, tmp_path: Path) -> None:
    file = noise(tmp_path / f"a.{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[: max(700, int(share * len(content)))])
    text = message(lambda: load_image(frame(file)))
    assert text.startswith(f"{file}: image is truncated or damaged (")
    assert text.endswith(f"; {AGAIN}")


@pytest.mark.parametrize(
    "content", [b"", b"404: Not Found\n", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"]
)
def test_a_file_that_is_no_image(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    expected = f"{file}: not a readable image, or its header is damaged; {AGAIN}"
    assert both_messages(file) == expected


def test_a_folder_with_the_name_of_an_image(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.mkdir()
    assert both_messages(file).startswith(f"{file}: not a readable image")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb(side: int, tmp_path: Path) -> None:
    file = huge(tmp_path / "a.png", side)
    text = both_messages(file)
    assert text.startswith(f"{file}: image is suspiciously large (Image size ({side**2} pixels)")
    assert text.endswith("); this is no video frame: put the original image in its place")


def test_a_bomb_in_the_text_of_a_png(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("comment", "x" * (2 << 20), zip=True)
    file = tmp_path / "a.png"
    Image.new("RGB", (SIZE.cols, SIZE.rows)).save(file, pnginfo=info)
    assert both_messages(file).startswith(f"{file}: not a readable image")


def ramp(rows: int = 4, cols: int = 256) -> np.ndarray:
    """0, 257, 514, ... 65535 along each row: the 16-bit form of 0, 1, 2, ... 255."""
    return np.tile(np.arange(cols, dtype=np.uint16) * 257, (rows, 1))


def test_grey_of_sixteen_bits_keeps_its_upper_byte(tmp_path: Path) -> None:
    file = tmp_path / "grey16.png"
    Image.fromarray(ramp()).save(file)
    with Image.open(file) as image:
        assert image.mode.startswith("I")
    pixels = load_image(frame(file, Size(4, 256)))
    assert (pixels.shape, pixels.dtype) == ((4, 256, 3), np.uint8)
    assert (pixels == np.arange(256, dtype=np.uint8)[None, :, None]).all()


@pytest.mark.parametrize("value", [255, 256, 511, 65535])
def test_sixteen_bits_are_cut_not_clipped(value: int, tmp_path: Path) -> None:
    file = tmp_path / "grey16.png"
    Image.fromarray(np.full((2, 2), value, dtype=np.uint16)).save(file)
    assert load_image(frame(file, Size(2, 2))).flatten().tolist() == [value // 256] * 12


@pytest.mark.parametrize(
    ("suffix", "kind", "told"),
    [
        ("tif", np.float32, "TIFF"),
        ("tif", np.uint8, "TIFF"),
        ("gif", np.uint8, "GIF"),
        ("eps", np.uint8, "PostScript"),
    ],
)
@pytest.mark.parametrize("disguised", [False, True])
def test_other_formats_are_named_and_not_opened(
    suffix: str, kind: type, told: str, disguised: bool, tmp_path: Path
) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.zeros((*SIZE,), dtype=kind)).save(file)
    if disguised:
        file = file.rename(tmp_path / "a.png")
    assert both_messages(file) == (
        f"{file}: is {told}; images are read as JPEG, PNG, BMP and WebP; convert the images, for "
        "example to PNG"
    )


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
    file = tmp_path / "a.eps"
    Image.new("RGB", (SIZE.cols, SIZE.rows)).save(file)
    assert "is PostScript" in both_messages(file.rename(tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_formats_that_are_read(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.new("RGB", (SIZE.cols, SIZE.rows), (200, 100, 50)).save(file)
    assert np.abs(load_image(frame(file))[5, 5].astype(int) - [200, 100, 50]).max() <= 4


# What is seen upright of an image stored so, by EXIF's definition of where row 0 and column 0 lie.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_orientation_is_honoured(orientation: int, suffix: str, tmp_path: Path) -> None:
    stored = np.zeros((32, 48, 3), dtype=np.uint8)
    stored[:16, :16] = (250, 20, 20)
    stored[:16, 16:32] = (20, 250, 20)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = tmp_path / f"a.{suffix}"
    more: dict[str, Any] = (
        {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    )
    Image.fromarray(stored).save(file, exif=exif, **more)
    expected = UPRIGHT[orientation](stored)
    size = Size(*expected.shape[:2])
    assert image_size(file) == size
    found = load_image(frame(file, size)).astype(int)
    middles = (slice(8, None, 16), slice(8, None, 16))
    assert np.abs(found[middles] - expected[middles]).max() <= 20


def test_annotations_of_the_unturned_image_are_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = tmp_path / "a.jpg"
    Image.new("RGB", (SIZE.cols, SIZE.rows)).save(file, exif=exif)
    assert message(lambda: load_image(frame(file))).startswith(
        f"{file}: image is 60x40 (rows x columns), turned as its EXIF says (orientation 6), the "
        "table says 40x60"
    )


def test_a_pipe_in_place_of_an_image_does_not_hang(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    os.mkfifo(file)
    assert both_messages(file).startswith(f"{file}: not a readable image (not a regular file)")


def test_an_absent_image_names_clip_and_folders(tmp_path: Path) -> None:
    sought = Sought("v1", "7.png", (tmp_path / "a", tmp_path / "b"))
    absent = Frame(7, None, SIZE, make_boxes([], [], [], []), "the table", sought)
    assert message(lambda: load_image(absent)).startswith(
        f"frame 7 of clip v1 has no image here (7.png, looked for in {tmp_path}/a, {tmp_path}/b); "
        "the annotations are enough"
    )


def test_the_fingerprint_of_images_sees_number_size_and_beginning(tmp_path: Path) -> None:
    files = [noise(tmp_path / f"{number}.png") for number in range(130)]
    before = images_fingerprint(files)
    assert images_fingerprint(files) == before
    assert images_fingerprint(files[:-1]) != before
    # Every third of 130 is read: 44 files.
    content = files[3].read_bytes()
    files[3].write_bytes(content + b"x")
    assert images_fingerprint(files) != before
    files[3].write_bytes(content[:900] + b"x" + content[901:])
    assert images_fingerprint(files) != before
    files[3].write_bytes(content)
    assert images_fingerprint(files) == before
