"""A recipe to the one point that a film shows, the scene that it runs in, and the footage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.zoo import entry
from maskvd_cli.film.choice import choose_task
from maskvd_cli.film.footage import Footage, class_names, clip_of, video_of
from maskvd_cli.film.lettering import escaped, unwritable
from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.recipe.schema import LimitSection, Recipe
from maskvd_cli.scenes.scene import Scene, scenes_of
from maskvd_cli.tasks.registry import FIRST
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.runner import plan_tasks


@dataclass(frozen=True)
class OpenedFilm:
    """All that a film needs. `task` is the chosen point as the only model's of the scene."""

    task: PointSpec
    scene: Scene
    footage: Footage
    remarks: tuple[str, ...]


def choose_point(loaded: LoadedRecipe, point: str | None) -> tuple[PointSpec, str]:
    """Return the point that is named, and what drives its masks; reads no dataset.

    Raises UsageError where it is not clear which, and where its model has no weights.
    """
    tasks, detections, _ = plan_tasks(loaded)
    task = choose_task(tasks, point)
    recipe = _single(loaded.recipe, task)
    asked = entry(recipe.model.name).family.task
    if asked != FIRST:
        raise UsageError(
            f"a film shows what a detector finds, and {recipe.model.name} is asked for {asked}",
            remedy="choose the recipe of a detector, such as demo",
        )
    if recipe.model.weights is None:
        raise UsageError(
            f"{recipe.name} has no weights, and a film shows what a detector finds",
            remedy="give a file: --set model.weights=FILE, or choose another recipe, such as demo",
        )
    if recipe.dataset.statistics is not None:
        raise UsageError("statistics have no frames", remedy="give the dataset itself (--root)")
    return task, detections


def open_film(
    loaded: LoadedRecipe, point: str | None, *, clip: str | None, video: Path | None, frames: int
) -> OpenedFilm:
    """Open what the recipe names, for one point and the first `frames` of one clip or video.

    The recipe's own limit does not hold: `frames` does. Raises MaskvdError for what is missing.
    """
    task, detections = choose_point(loaded, point)
    recipe = _single(loaded.recipe, task)
    only_first = clip is None
    limit = LimitSection(clips=1 if only_first else None, frames=frames)
    recipe = recipe.model_copy(update={"limit": limit, "smoke": False})
    driven_by = detections if video is None else "model"
    scene = scenes_of(recipe, driven_by)[None, task.input]
    footage = clip_of(scene, task, clip) if video is None else video_of(scene, task, video, frames)
    remarks = [*footage.remarks, *scene.notes()]
    if detections == "labels" and video is None:
        remarks.append(
            "masks come from the annotated boxes of the frame before, not the detector's"
        )
    if unknown := unwritable(class_names(scene)):
        shown = ", ".join(escaped(name) for name in unknown[:3])
        remarks.append(f"no font here has all characters of class names; they are written {shown}")
    return OpenedFilm(task, scene, footage, tuple(remarks))


def _single(recipe: Recipe, task: PointSpec) -> Recipe:
    """Return the recipe with the point's model alone."""
    wanted = task.model or recipe.model.known_as
    return next(single for single in recipe.for_each_model() if single.model.known_as == wanted)
