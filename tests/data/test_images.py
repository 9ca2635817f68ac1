from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Frame
from maskvd_cli.data.base import make_boxes
from maskvd_cli.data.images import image_size, load_image

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
