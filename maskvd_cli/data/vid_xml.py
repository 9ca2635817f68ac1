"""The XML annotations of ILSVRC2015 VID: one file per frame, one folder per video."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.base import check_boxes, make_boxes
from maskvd_cli.data.coco_json import LARGEST_SIDE, listing
from maskvd_cli.data.files import read_regular

SYNSETS = {
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear", "n02834778": "bicycle",
    "n01503061": "bird", "n02924116": "bus", "n02958343": "car", "n02402425": "cattle",
    "n02084071": "dog", "n02121808": "domestic_cat", "n02503517": "elephant", "n02118333": "fox",
    "n02510455": "giant_panda", "n02342885": "hamster", "n02374451": "horse", "n02129165": "lion",
    "n01674464": "lizard", "n02484322": "monkey", "n03790512": "motorcycle", "n02324045": "rabbit",
    "n02509815": "red_panda", "n02411705": "sheep", "n01726692": "snake", "n02355227": "squirrel",
    "n02129604": "tiger", "n04468005": "train", "n01662784": "turtle", "n04530566": "watercraft",
    "n02062744": "whale", "n02391049": "zebra",
}  # fmt: skip
CLASSES = tuple(SYNSETS.values())
_LABELS = {synset: label for label, synset in enumerate(SYNSETS)}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_REMEDY = "correct this file, or unpack the annotations again"


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, hidden ones left out."""
    names = sorted(name for name in listing(folder) if not name.startswith("."))
    return [folder / name for name in names if (folder / name).is_dir()]


def find_videos(folder: Path) -> dict[str, Path]:
    """Return a split's video folders by name; train may keep them in parts. DatasetError."""
    videos: dict[str, Path] = {}
    for child in subfolders(folder):
        for video in subfolders(child) or [child]:
            if video.name in videos:
                raise DatasetError(
                    f"video '{video.name}' is there twice, in {videos[video.name].parent.name} "
                    f"and {video.parent.name}",
                    where=folder,
                    remedy="keep one of them",
                )
            videos[video.name] = video
    if not videos:
        raise DatasetError(
            "no video folders here", where=folder, remedy="unpack the annotations again"
        )
    return dict(sorted(videos.items()))


def find_frames(folder: Path) -> dict[int, str]:
    """Return a video's file stems by frame number, sorted. Raises DatasetError."""
    frames: dict[int, str] = {}
    for name in sorted(listing(folder)):
        stem, dot, suffix = name.rpartition(".")
        if suffix != "xml" or not dot or name.startswith("."):
            continue
        if not re.fullmatch("[0-9]{1,9}", stem):
            raise DatasetError(
                f"'{name}' is not named <frame number>.xml", where=folder, remedy=_REMEDY
            )
        first = frames.setdefault(int(stem), stem)
        if first != stem:
            raise DatasetError(
                f"frame {int(stem)} is there twice: {first}.xml and {name}",
                where=folder,
                remedy="keep one of them",
            )
    if not frames:
        raise DatasetError(
            "no frames (000000.xml, ...) here",
            where=folder,
            remedy="unpack the annotations again, or remove the empty folder",
        )
    return dict(sorted(frames.items()))


def read_xml(file: Path) -> tuple[Size, Boxes]:
    """Return the image size and the boxes that a frame's file gives. Raises DatasetError."""
    root = _parse(file)
    height, width = (
        _whole(root, f"{file}: ", key, 1, LARGEST_SIDE) for key in ("size.height", "size.width")
    )
    corners: list[list[float]] = []
    labels: list[int] = []
    tracks: list[int] = []
    for index, node in enumerate(root.findall("object")):
        prefix = f"{file}: object.{index}."
        synset = _text(node, prefix, "name")
        if synset not in _LABELS:
            raise DatasetError(
                f"{synset[:40]!r} is none of the 30 synsets (n02691156, ...)",
                where=f"{prefix}name",
                remedy=_REMEDY,
            )
        labels.append(_LABELS[synset])
        tracks.append(_whole(node, prefix, "trackid", -1, 2**31))
        corners.append([_number(node, prefix, f"bndbox.{key}") for key in _CORNERS])
    xyxy = np.array(corners, dtype=np.float64).reshape(-1, 4)
    check_boxes(xyxy, lambda index: f"{file}: object.{index}.bndbox")
    return Size(height, width), make_boxes(xyxy, labels, tracks, [False] * len(labels))


def _parse(file: Path) -> Element:
    try:
        return ElementTree.fromstring(read_regular(file), forbid_dtd=True)
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=file) from error
    except DefusedXmlException as error:
        raise DatasetError(
            f"holds a document type or entities ({type(error).__name__}), which no VID file has",
            where=file,
            remedy="do not use this file; fetch the annotations from their own source",
        ) from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise DatasetError(f"no XML ({error})", where=file, remedy=_REMEDY) from error


def _text(node: Element, prefix: str, key: str) -> str:
    text = node.findtext(key.replace(".", "/"))
    if text is None or not text.strip():
        raise DatasetError("is missing or empty", where=prefix + key, remedy=_REMEDY)
    return text.strip()


def _whole(node: Element, prefix: str, key: str, least: int, most: int) -> int:
    text = _text(node, prefix, key)
    if not re.fullmatch("-?[0-9]{1,15}", text) or not least <= int(text) <= most:
        raise DatasetError(
            f"{text[:40]!r} is not a whole number in {least}..{most}",
            where=prefix + key,
            remedy=_REMEDY,
        )
    return int(text)


def _number(node: Element, prefix: str, key: str) -> float:
    text = _text(node, prefix, key)
    try:
        return float(text)
    except ValueError as error:
        raise DatasetError(
            f"{text[:40]!r} is not a number", where=prefix + key, remedy=_REMEDY
        ) from error
