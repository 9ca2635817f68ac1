"""Load a frame's image when it is asked for, with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Frame

_REMEDY = "fetch or copy the image again"


def image_size(file: Path) -> Size:
    """Return the size of an image from its header, without decoding it. Raises DatasetError."""
    with _opened(file) as image:
        return Size(image.height, image.width)


def load_image(frame: Frame) -> NDArray[np.uint8]:
    """Return the frame's image, (rows, cols, 3) uint8 RGB.

    Raises DatasetError where the file is absent, truncated, no image, or of another size than
    the frame's.
    """
    if frame.file is None:
        raise DatasetError(
            f"frame {frame.index} has no image here",
            remedy="the annotations are enough for a planned sweep; for more, add the images",
        )
    with _opened(frame.file) as image:
        size = Size(image.height, image.width)
        if size != frame.size:
            raise DatasetError(
                f"image is {size} (rows x columns), {frame.size_source} says {frame.size}",
                where=frame.file,
                remedy="the images belong to other annotations, or were resized: use the originals",
            )
        try:
            return np.array(image.convert("RGB"), dtype=np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise DatasetError(
                f"image is truncated or damaged ({error})", where=frame.file, remedy=_REMEDY
            ) from error


def _opened(file: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(file)
    except FileNotFoundError as error:
        raise DatasetError("no such image", where=file, remedy=_REMEDY) from error
    except (UnidentifiedImageError, SyntaxError, ValueError, OSError) as error:
        raise DatasetError(
            "not a readable image, or its header is damaged", where=file, remedy=_REMEDY
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"image is suspiciously large ({error})",
            where=file,
            remedy="this is no video frame: put the original image in its place",
        ) from error
