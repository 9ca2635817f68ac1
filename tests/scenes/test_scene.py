"""What decides the keys of points: images where the model sees files, and nothing new elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.prepare import Sweep, prepare

LABEL = "{frame} 0 Car 0 0 0.0 4 4 20 20 1.5 1.6 3.9 0.0 1.6 20.0 0.0"
RECIPE = """\
schema: 1
name: keyed
dataset: {{name: {dataset}, split: {split}}}
model: {{name: vitdet-ti, input: 64x128, frame: fit}}
methods: [{{name: dense}}]
device: cpu
"""


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    labels = tmp_path / "kitti/training/label_02/0000.txt"
    images = tmp_path / "kitti/training/image_02/0000"
    labels.parent.mkdir(parents=True)
    images.mkdir(parents=True)
    labels.write_text("".join(f"{LABEL.format(frame=frame)}\n" for frame in range(3)))
    for frame in range(3):
        paint(images / f"{frame:06d}.png", frame)
    return tmp_path / "kitti"


def paint(file: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def prepared(folder: Path, dataset: str, split: str, *assignments: str) -> Sweep:
    file = folder / "keyed.yaml"
    file.write_text(RECIPE.format(dataset=dataset, split=split))
    return prepare(load_recipe(file, catalog(), assignments))


def test_other_images_are_other_points_where_the_model_sees_them(
    kitti: Path, tmp_path: Path
) -> None:
    root, seen = f"dataset.root={kitti}", "model.weights=random"
    kinds = [(root,), (root, seen, "dataset.pixels=noise"), (root, seen)]

    def keys() -> list[str]:
        return [prepared(tmp_path, "kitti", "train", *kind).points[0].key for kind in kinds]

    before = keys()
    assert len(set(before)) == 3 and keys() == before
    paint(kitti / "training/image_02/0000/000001.png", seed=9)
    planned, noise, images = keys()
    assert [planned, noise] == before[:2]
    assert images != before[2]


def test_what_is_drawn_is_keyed_by_its_annotations(tmp_path: Path) -> None:
    limits = ("limit.clips=1", "limit.frames=2", "model.weights=random")
    point = prepared(tmp_path, "synthetic", "val", *limits).points[0]
    assert point.setting["measured"]["pixels"] == "images"
    assert "images" not in point.setting["measured"]


def test_the_frames_are_listed_once(kitti: Path, tmp_path: Path) -> None:
    source = prepared(tmp_path, "kitti", "train", f"dataset.root={kitti}").scene.source
    assert source.frames() == [("0000", [0, 1, 2])]
    assert source.frames() is source.frames(), "it is asked for after every clip of every point"


def test_frames_between_are_as_if_they_had_not_been_recorded(kitti: Path, tmp_path: Path) -> None:
    root, strided = f"dataset.root={kitti}", "dataset.frame_stride=2"
    weights = ("model.weights=random", "dataset.pixels=noise")
    whole, part = (
        next(iter(prepared(tmp_path, "kitti", "train", root, *weights, *more).scenes.values()))
        for more in ((), (strided,))
    )
    assert whole.source.frames() == [("0000", [0, 1, 2])]
    assert part.source.frames() == [("0000", [0, 2])]
    (view,) = part.views(with_scores=False)
    assert view.frame_of is not None
    assert (view.frames, view.frame_of.tolist()) == (2, [0, 1])
    images = part.feed.clips([view])[0].images
    every = whole.feed.clips(whole.views(with_scores=False))[0].images
    assert [images[0].tolist(), images[1].tolist()] == [every[0].tolist(), every[2].tolist()]
    one, other = whole.source.setting(), part.source.setting()
    assert (other.pop("frame_stride"), other.keys()) == (2, one.keys())
    assert one["fingerprint"] != other["fingerprint"]


def test_a_stride_of_1_changes_no_key(kitti: Path, tmp_path: Path) -> None:
    def key(*more: str) -> str:
        return prepared(tmp_path, "kitti", "train", f"dataset.root={kitti}", *more).points[0].key

    assert key() == key("dataset.frame_stride=1") != key("dataset.frame_stride=2")


def test_a_limit_counts_the_frames_that_are_left(kitti: Path, tmp_path: Path) -> None:
    assignments = (f"dataset.root={kitti}", "dataset.frame_stride=2", "limit.frames=2")
    sweep = prepared(tmp_path, "kitti", "train", *assignments)
    assert next(iter(sweep.scenes.values())).source.frames() == [("0000", [0, 2])]
