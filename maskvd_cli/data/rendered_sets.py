"""Write drawn clips as a folder in KITTI's own layout, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError, UsageError, unknown
from maskvd_cli.data.base import RAW
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.data.rendering.frames import render
from maskvd_cli.data.rendering.labels import frame_rows
from maskvd_cli.data.rendering.reenact import Reenactment, parse_rows
from maskvd_cli.data.rendering.world import FAMILIES, Family, World, build_world
from maskvd_cli.data.synthetic import LabelSummary, check_numbers, refuse_full
from maskvd_cli.store.atomic import refuse_inside, write_folder

Cameras = Literal["driving", "static", "both"]
CAMERAS: tuple[Cameras, ...] = ("driving", "static", "both")
_SEQMAP = "training/evaluate_tracking.seqmap.training"


class _Files(Mapping[str, bytes]):
    """Files whose content is made when it is asked for, so that no more than one is in memory."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], bytes]] = {}

    def add(self, name: str, make: Callable[[], bytes]) -> None:
        self._makers[name] = make

    def __getitem__(self, name: str) -> bytes:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def png(image: NDArray[np.uint8]) -> bytes:
    """Return an RGB image (rows, cols, 3) as a PNG file, written for speed rather than size."""
    done, coded = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    if not done:
        raise DatasetError("an image could not be written as PNG")
    return coded.tobytes()


def camera_choice(text: str) -> Cameras:
    """Return the camera that a text names. Raises UsageError for an unknown one."""
    for camera in CAMERAS:
        if text == camera:
            return camera
    raise UsageError(unknown("camera", text, CAMERAS), where="--camera")


def _nothing() -> None:
    """Tell nobody that a frame is done."""


class _Clip:
    """One drawn clip: images one by one, and labels gathered on the way."""

    def __init__(self, world: World, boxes: Counter[str], done: Callable[[], None]) -> None:
        self._world, self._boxes, self._done = world, boxes, done
        self._lines: list[str] = []

    def image(self, frame: int) -> bytes:
        drawn = render(self._world, frame)
        assert drawn.image is not None
        rows = frame_rows(self._world, frame, drawn.visible)
        self._boxes.update(row.kind for row in rows)
        self._lines += [row.line() for row in rows]
        self._done()
        return png(drawn.image)

    def labels(self) -> bytes:
        return "".join(self._lines).encode("ascii")


def write_clips(  # noqa: PLR0913, PLR0917 - the options of the command
    folder: Path, clips: int, frames: int, seed: int, camera: Cameras = "both",
    done: Callable[[], None] = _nothing,
) -> LabelSummary:  # fmt: skip
    """Write `clips` drawn sequences with images; `both` cameras take turns.

    The same arguments and the same version of OpenCV give the same bytes. `done` is called after
    each frame. Raises UsageError for a number out of range and a folder that is not empty;
    ResultError where it cannot be written.
    """
    check_numbers(clips, frames, seed)
    refuse_full(folder)
    boxes: Counter[str] = Counter()
    files = _Files()
    families: tuple[Family, ...] = FAMILIES if camera == "both" else (camera,)
    for clip in range(clips):
        family, number = families[clip % len(families)], clip // len(families)
        made = _Clip(build_world(family, (seed,), number, frames), boxes, done)
        for frame in range(frames):
            name = f"training/image_02/{clip:04d}/{frame:06d}.png"
            files.add(name, partial(made.image, frame))
        files.add(f"training/label_02/{clip:04d}.txt", made.labels)
    names = {f"{clip:04d}": frames for clip in range(clips)}
    files.add(_SEQMAP, partial(_seqmap, names))
    write_folder(folder, files)
    return LabelSummary(clips, clips * frames, dict(sorted(boxes.items())))


def _seqmap(frames: dict[str, int]) -> bytes:
    lines = (f"{name} empty 000000 {count:06d}\n" for name, count in frames.items())
    return "".join(lines).encode("ascii")


def write_reenactment(  # noqa: PLR0913, PLR0917 - the options of the command
    source: Path, folder: Path, clips: int | None, frames: int | None, seed: int,
    done: Callable[[], None] = _nothing,
) -> LabelSummary:  # fmt: skip
    """Write KITTI's own label lines with drawn images: the first sequences and frames, or all.

    Lines are taken over byte by byte; those of frames left out are left out. Raises DatasetError
    for unusable labels, UsageError for a number out of range or a folder that is not empty, and
    ResultError for a folder inside the source, which is never written to.
    """
    check_numbers(clips or 1, 2 if frames is None else frames, seed)
    refuse_inside(folder, source)
    dataset = Kitti(source, "train", RAW)
    refuse_inside(folder, dataset.root)
    refuse_full(folder)
    boxes: Counter[str] = Counter()
    files, counts = _Files(), dict[str, int]()
    for clip in islice(dataset.clips(), clips):
        count = len(clip) if frames is None else min(frames, len(clip))
        file = dataset.root / "training" / "label_02" / f"{clip.name}.txt"
        if not file.is_file():
            file = dataset.root / "label_02" / file.name
        text = file.read_bytes().decode("utf-8")
        lines = [line for line in text.splitlines(keepends=True) if _kept(line, count)]
        rows = tuple(parse_rows("".join(lines)))
        boxes.update(row.kind for row in rows)
        place = sum(clip.name.encode())
        acted = Reenactment(rows, count, clip.frames[0].size, (seed, place))
        for frame in range(count):
            name = f"training/image_02/{clip.name}/{frame:06d}.png"
            files.add(name, partial(_acted, acted, frame, done))
        files.add(f"training/label_02/{clip.name}.txt", partial("".join(lines).encode, "utf-8"))
        counts[clip.name] = count
    files.add(_SEQMAP, partial(_seqmap, counts))
    write_folder(folder, files)
    return LabelSummary(len(counts), sum(counts.values()), dict(sorted(boxes.items())))


def _kept(line: str, frames: int) -> bool:
    fields = line.split(maxsplit=1)
    return bool(fields) and int(fields[0]) < frames


def _acted(acted: Reenactment, frame: int, done: Callable[[], None]) -> bytes:
    coded = png(acted.image(frame))
    done()
    return coded
