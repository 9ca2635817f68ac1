"""Which datasets are there: the variable, the folder, labels and images of a first clip."""

from __future__ import annotations

import os
from collections.abc import Iterator

from maskvd_cli.core.errors import DatasetError, MaskvdError
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import Dataset
from maskvd_cli.data.registry import datasets
from maskvd_cli.diagnosis.finding import Checkup


def dataset_findings() -> Iterator[Checkup]:
    """Yield one finding for every dataset that is registered, installed packages' included."""
    for name in datasets.names():
        try:
            kind = datasets.load(name)
        except MaskvdError as error:
            yield Checkup(name, "problem", error.message, error.remedy or "uninstall its package")
            continue
        yield dataset_finding(kind)


def dataset_finding(kind: type[Dataset]) -> Checkup:
    """Open the evaluation split as a recipe without `dataset.root` does, and read its first clip.

    Other clips are not read, because large sets take minutes; `maskvd validate` reads them all.
    """
    name, root = kind.name, os.environ.get(kind.env)
    try:
        made = kind()
    except DatasetError as error:
        if not root:
            remedy = f"export {kind.env}=DIR, or --root DIR where it is needed"
            return Checkup(name, "note", f"{kind.env} is not set", remedy)
        return _unusable(kind, error)
    try:
        return _first_clip(made, f"{root}: " if root else "")
    except MaskvdError as error:
        return _unusable(kind, error)
    except OSError as error:
        text = f"{kind.env}: {error.filename}: {error.strerror}"
        return Checkup(name, "problem", text, "check the folder and its permissions")


def _first_clip(dataset: Dataset, where: str) -> Checkup:
    clip = next((clip for clip in dataset.clips() if len(clip)), None)
    if clip is None:
        remedy = f"unpack it again, or name another folder: export {dataset.env}=DIR"
        return Checkup(dataset.name, "problem", f"{where}{dataset.split} has no frames", remedy)
    boxes = sum(len(frame.boxes.objects) for frame in clip.frames)
    text = f"{where}labels of {dataset.split}: {counted(len(clip), 'frame')}, "
    text += f"{counted(boxes, 'box', 'boxes')} in a first clip"
    drawn = all(frame.file is None for frame in clip.frames)
    there = sum(frame.file is not None and frame.file.is_file() for frame in clip.frames)
    if drawn:
        try:
            dataset.image(clip.frames[0])
        except DatasetError:
            remedy = "nothing for planning; unpack the images beside the labels to measure"
            return Checkup(dataset.name, "note", f"{text}; no images", remedy)
        return Checkup(dataset.name, "ok", f"{text}; images are drawn")
    if there < len(clip):
        remedy = "unpack the images again; all that are missing: maskvd validate RECIPE"
        text += f", {there} of {len(clip)} images"
        return Checkup(dataset.name, "warning", text, remedy)
    dataset.image(clip.frames[0])
    return Checkup(dataset.name, "ok", f"{text}, all images")


def _unusable(kind: type[Dataset], error: MaskvdError) -> Checkup:
    where = "" if error.where is None else f"{error.where}: "
    remedy = error.remedy or f"name another folder: export {kind.env}=DIR"
    return Checkup(kind.name, "problem", f"{kind.env} is set, but {where}{error.message}", remedy)
