"""Shots to a film: picture above, strip below, encoded into one file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from maskvd_cli.film.encode import write_gif, write_mp4
from maskvd_cli.film.footage import Footage, class_names
from maskvd_cli.film.lettering import GROUND
from maskvd_cli.film.picture import Layout, draw_picture
from maskvd_cli.film.shots import Shot, shots
from maskvd_cli.film.strip import Caption, draw_strip, strip_height
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.work.plan import PointSpec, baseline_at

DEFAULT_FRAMES_PER_S = 10.0


@dataclass(frozen=True)
class FilmStyle:
    """How a film looks: least score of detections, frames a second, width in pixels; None: own."""

    score: float = 0.5
    frames_per_s: float | None = None
    width: int | None = None


@dataclass(frozen=True)
class Summary:
    """What a film showed: frames, misses because of skipping out of all objects, mean GMACs."""

    frames: int
    missed: int
    met: int
    gmacs: float
    baseline_gmacs: float


def make_film(  # noqa: PLR0913, PLR0917 - what, of what, where to, how, and who hears of it
    path: Path,
    task: PointSpec,
    scene: Scene,
    footage: Footage,
    style: FilmStyle,
    on_frame: Callable[[], None] = lambda: None,
) -> Summary:
    """Run the point over the footage and write the film to `path`, .mp4 or .gif.

    `on_frame` hears of every frame. Raises MaskvdError where a frame cannot be read, the method
    cannot run, or the place cannot be written; then, and when interrupted, no file is left.
    """
    frames_per_s = style.frames_per_s or footage.frames_per_s or DEFAULT_FRAMES_PER_S
    write = write_gif if path.suffix == ".gif" else write_mp4
    last: list[Shot] = []

    def noted() -> Iterator[Shot]:
        for shot in shots(task, scene, footage, style.score):
            last[:] = [shot]
            yield shot
            on_frame()

    pictures = draw_all(noted(), task, scene, footage, style)
    write_atomic(path, lambda temporary: write(temporary, pictures, frames_per_s))
    end = last[0]
    cost = end.cost
    return Summary(end.position + 1, end.missed, end.met, cost.mean_gmacs, cost.baseline_gmacs)


def draw_all(
    made: Iterable[Shot], task: PointSpec, scene: Scene, footage: Footage, style: FilmStyle
) -> Iterator[Pillow.Image]:
    """Yield the film's pictures."""
    layout = Layout.of(footage.size, style.width)
    caption = _caption(task, scene, footage)
    names = class_names(scene)
    strip = strip_height(layout, caption)
    rows = layout.picture.rows
    for shot in made:
        canvas = Pillow.new("RGB", (layout.width, rows + strip), GROUND)
        picture = draw_picture(shot, layout, footage.placed, scene.geometry.arch.patch, names)
        canvas.paste(picture, ((layout.width - layout.picture.cols) // 2, 0))
        canvas.paste(draw_strip(shot, caption, layout), (0, rows))
        yield canvas


def _caption(task: PointSpec, scene: Scene, footage: Footage) -> Caption:
    remark, baseline = "", baseline_at(task.site, scene.geometry.arch)
    if scene.measured.random:
        remark = "random weights: tokens and costs are right, detections mean nothing"
    return Caption(
        label=task.label,
        baseline=baseline.method.name,
        frames=len(footage.clip),
        tokens=scene.geometry.grid.area,
        annotated=footage.objects is not None,
        skips=task != baseline,
        remark=remark,
    )
