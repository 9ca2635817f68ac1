"""Load a frame's image when it is asked for, with Pillow: JPEG, PNG, BMP and WebP.

Other formats are not opened at all: some start programs (EPS), some decode with libraries that no
video set needs.
"""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Frame
from maskvd_cli.data.files import open_regular

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})

_MOST_SAMPLED = 64
_REMEDY = "fetch or copy the image again"
_LISTED = "JPEG, PNG, BMP and WebP"
# What an unreadable file is called, by how it begins.
_OTHERS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%!PS": "PostScript", b"GIF8": "GIF"}
_EIGHT_BITS = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
                         "YCbCr"})  # fmt: skip
_SIXTEEN_BITS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
# How an image is turned upright, by its EXIF orientation; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGES = (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error)


def image_size(file: Path) -> Size:
    """Return the size of an image from its header, turned as its EXIF says. Raises DatasetError."""
    with _opened(file) as image:
        return _upright(image, _orientation(image, file))


def load_image(frame: Frame) -> NDArray[np.uint8]:
    """Return the frame's image, (rows, cols, 3) uint8 RGB, turned as its EXIF orientation says.

    Grey images of 16 bits keep their upper 8. Raises DatasetError where the file is absent,
    truncated, no image of a known format, of another depth, or of another size than the frame's.
    """
    if frame.file is None:
        raise _absent(frame)
    with _opened(frame.file) as image:
        orientation = _orientation(image, frame.file)
        _refuse_other_size(image, orientation, frame, frame.file)
        try:
            image.load()
        except _DAMAGES as error:
            raise _damaged(frame.file, error) from error
        # Some PNGs name their orientation behind the pixels.
        later = _orientation(image, frame.file)
        if later != orientation:
            _refuse_other_size(image, later, frame, frame.file)
        turned = image.transpose(_TURNS[later]) if later in _TURNS else image
        return _eight_bits(turned, frame.file)


def images_fingerprint(files: Sequence[Path]) -> str:
    """Return a sha256 over the number of files, and size and first KiB of at most 64 of them.

    Every k-th file is read, the first among them. Raises DatasetError where one cannot be read.
    """
    step = -(-len(files) // _MOST_SAMPLED)
    digest = hashlib.sha256(f"{len(files)}".encode())
    for file in files[::step]:
        try:
            with open_regular(file) as opened:
                size, begin = os.fstat(opened.fileno()).st_size, opened.read(1024)
        except OSError as error:
            raise DatasetError(
                f"cannot be read ({error.strerror})", where=file, remedy=_REMEDY
            ) from error
        digest.update(f"\0{size}\0".encode() + begin)
    return digest.hexdigest()


def _absent(frame: Frame) -> DatasetError:
    sought = frame.sought
    place = "" if sought is None else f" of clip {sought.clip}"
    tried = "" if sought is None else f" ({sought})"
    return DatasetError(
        f"frame {frame.index}{place} has no image here{tried}",
        remedy="the annotations are enough for a planned sweep; for more, add the images",
    )


@contextmanager
def _opened(file: Path) -> Generator[Image.Image]:
    try:
        opened = open_regular(file)
    except FileNotFoundError as error:
        raise DatasetError("no such image", where=file, remedy=_REMEDY) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"not a readable image ({reason})", where=file, remedy=_REMEDY
        ) from error
    with opened:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(opened, formats=FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DatasetError(
                f"image is suspiciously large ({error})",
                where=file,
                remedy="this is no video frame: put the original image in its place",
            ) from error
        except (UnidentifiedImageError, *_DAMAGES) as error:
            opened.seek(0)
            raise _unknown(file, opened.read(4)) from error
        with image:
            yield image


def _unknown(file: Path, begin: bytes) -> DatasetError:
    if other := _OTHERS.get(begin):
        return DatasetError(
            f"is {other}; images are read as {_LISTED}",
            where=file,
            remedy="convert the images, for example to PNG",
        )
    return DatasetError(
        "not a readable image, or its header is damaged", where=file, remedy=_REMEDY
    )


def _damaged(file: Path, error: Exception) -> DatasetError:
    return DatasetError(f"image is truncated or damaged ({error})", where=file, remedy=_REMEDY)


def _orientation(image: Image.Image, file: Path) -> int:
    """Return the EXIF orientation, 1 where there is none; a PNG is not decoded for it."""
    held = image.info.get("exif")
    try:
        exif = Image.Exif()
        if isinstance(held, bytes):
            exif.load(held)
        value = exif.get(ExifTags.Base.Orientation, 1)
    except _DAMAGES as error:
        raise DatasetError(
            f"its EXIF cannot be read ({error})",
            where=file,
            remedy="write the image again without EXIF, turned as it is to be seen",
        ) from error
    return value if value in _TURNS else 1


def _upright(image: Image.Image, orientation: int) -> Size:
    size = Size(image.height, image.width)
    return Size(size.cols, size.rows) if orientation >= 5 else size


def _refuse_other_size(image: Image.Image, orientation: int, frame: Frame, file: Path) -> None:
    size = _upright(image, orientation)
    if size == frame.size:
        return
    turned = f", turned as its EXIF says (orientation {orientation})" if orientation > 1 else ""
    raise DatasetError(
        f"image is {size} (rows x columns){turned}, {frame.size_source} says {frame.size}",
        where=file,
        remedy="the images belong to other annotations, or were resized: use the originals",
    )


def _eight_bits(image: Image.Image, file: Path) -> NDArray[np.uint8]:
    if image.mode in _EIGHT_BITS:
        try:
            return np.array(image.convert("RGB"), dtype=np.uint8)
        except _DAMAGES as error:
            raise _damaged(file, error) from error
    values = np.asarray(image) if image.mode in _SIXTEEN_BITS else None
    if values is None or values.min() < 0 or values.max() > 65535:
        raise DatasetError(
            f"holds values of mode {image.mode}, which have no fixed range",
            where=file,
            remedy="convert the images to 8 bits, or to grey of 16 bits",
        )
    # The upper byte, which is also what is read of colours of 16 bits.
    grey = (values >> 8).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
