"""Whether all is there that a recipe needs: every part is checked, so that all is said at once."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maskvd_cli.core.errors import DatasetError, MaskvdError
from maskvd_cli.core.words import counted
from maskvd_cli.families.snapshots import read_weights
from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.geometry import Geometry
from maskvd_cli.scenes.weights import Weights
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.runner import plan_tasks


@dataclass(frozen=True)
class Check:
    """One part of a recipe: `found` says what is there, or why it cannot be used."""

    part: str
    ok: bool
    found: str


def checks_of(loaded: LoadedRecipe) -> Iterator[Check]:
    """Yield points, annotations, images, heatmap and weights of a recipe, each checked by itself.

    All annotations are read, the first and last image of each clip is decoded, and the other files
    are looked for. Weights are loaded into their model. No frame is run.
    """
    recipe = loaded.recipe
    tasks: list[PointSpec] = []

    def points() -> str:
        specs, detections, reason = plan_tasks(loaded)
        tasks.extend(specs)
        return f"{len(specs)}, masks from {detections}: {reason}"

    yield _checked("points", points)
    if recipe.dataset.statistics is not None:
        yield Check("dataset", True, "numbers of clips and frames alone; nothing is read")
        return
    annotations: list[Annotations] = []

    def dataset() -> str:
        opened = Annotations(recipe)
        frames = sum(map(len, opened.videos))
        annotations.append(opened)
        name = f"{opened.dataset.name} {opened.dataset.split}, {opened.dataset.protocol}"
        extent = f"{counted(len(opened.videos), 'clip')}, {counted(frames, 'frame')}"
        return f"{name}: {extent} in {opened.root}"

    yield _checked("dataset", dataset)
    if annotations:
        yield from _of_annotations(recipe, annotations[0], tasks)
    if recipe.model.weights is not None:
        classes = annotations[0].dataset.classes if annotations else None
        for single in recipe.for_each_model():
            yield _checked(
                f"weights of {single.model.known_as}", lambda s=single: _weights(s, classes)
            )


def _of_annotations(
    recipe: Recipe, annotations: Annotations, tasks: list[PointSpec]
) -> Iterator[Check]:
    if recipe.model.weights is not None and recipe.dataset.pixels == "images":
        yield _checked("images", lambda: _images(annotations))
    if any(task.needs_heatmap for task in tasks):
        geometry = Geometry.of(recipe, recipe.model.input[0])
        yield _checked("heatmap", lambda: _heatmap(annotations, geometry))


def _heatmap(annotations: Annotations, geometry: Geometry) -> str:
    heatmap = annotations.heatmap(geometry)
    return " ".join([heatmap.origin(), *heatmap.remarks(annotations.dataset, annotations.clips)])


def _images(annotations: Annotations) -> str:
    frames = [frame for clip in annotations.videos for frame in clip.frames]
    # Drawn frames have no files, and where no frame has one, reading the first says so.
    in_files = any(frame.file for frame in frames)
    absent = [
        f"frame {frame.index} of {clip.name} ({frame.file or frame.sought or 'no file'})"
        for clip in annotations.videos
        for frame in clip.frames
        if in_files and not (frame.file and frame.file.is_file())
    ]
    if absent:
        raise DatasetError(
            f"{len(absent)} of {counted(len(frames), 'image')} are missing, for example "
            f"{absent[0]}",
            where=annotations.root,
            remedy="complete the dataset, or plan without a model (--set model.weights=null)",
        )
    for clip in annotations.videos:
        for frame in {0: clip.frames[0], 1: clip.frames[-1]}.values():
            annotations.dataset.image(frame)
    return f"{counted(len(frames), 'frame')}; first and last of every clip can be read"


def _weights(recipe: Recipe, classes: tuple[str, ...] | None) -> str:
    file = recipe.model.weights
    assert file is not None
    if classes is None and file == RANDOM_WEIGHTS:
        return "random; of how many classes, the dataset alone tells"
    if classes is None:
        tensors = read_weights(Path(file)).tensors
        return f"{file}, {counted(len(tensors), 'tensor')}; fit is not checked without the dataset"
    weights = Weights(recipe, classes or ())
    weights.model(Geometry.of(recipe, recipe.model.input[0]))
    return f"{recipe.model.weights}, sha256 {weights.digest[:12]}, runs on {weights.device.type}"


def _checked(part: str, work: Callable[[], str]) -> Check:
    try:
        return Check(part, True, work())
    except MaskvdError as error:
        return Check(part, False, str(error))
