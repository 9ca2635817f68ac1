"""Maps from a detector's classes to a dataset's."""

from __future__ import annotations

import pytest
import yaml

from maskvd_cli.core.errors import UsageError
from maskvd_cli.data.kitti_labels import NATIVE_CLASSES
from maskvd_cli.data.vid_xml import CLASSES as VID
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.recipe import class_maps

KITTI = ("pedestrian", "car", "cyclist")
MAPS = [name for name in class_maps.names() if name != class_maps.BY_NAME]


def test_coco_on_kitti() -> None:
    found = class_maps.mapped("coco-to-kitti", NUMBERED, KITTI)
    given = {name: to for name, to in zip(NUMBERED, found, strict=True) if to}
    assert given == {"person": "pedestrian", "car": "car", "truck": "car", "bus": "car"}


def test_coco_on_imagenet_vid() -> None:
    found = class_maps.mapped("coco-to-vid", NUMBERED, VID)
    given = {name: to for name, to in zip(NUMBERED, found, strict=True) if to}
    assert given["cat"] == "domestic_cat" and given["boat"] == "watercraft"
    assert given["cow"] == "cattle" and "truck" not in given
    # What is called the same is never left out.
    assert set(NUMBERED) & set(VID) <= set(given.values())
    assert len(set(given.values())) == 16


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_from_coco_and_plain(name: str) -> None:
    table = yaml.safe_load((class_maps._FOLDER / f"{name}.yaml").read_text())
    assert name.startswith("coco-to-")
    assert set(table) <= {one for one in NUMBERED if one}
    assert all(isinstance(target, str) and target for target in table.values())


def test_equal_names() -> None:
    assert class_maps.mapped("by-name", ["cat", None, "car"], KITTI) == [None, None, "car"]


def test_maps_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="coco-to-kitti gives pedestrian, which the dataset does"):
        class_maps.mapped("coco-to-kitti", NUMBERED, NATIVE_CLASSES)
    for name in ("coco-to-kitti", "by-name"):
        with pytest.raises(UsageError, match=rf"{name} knows none of the classes .* \(cat, dog\)"):
            class_maps.mapped(name, ["cat", None, "dog"], KITTI)


@pytest.mark.parametrize(
    ("classes", "dataset", "maps"),
    [
        (NUMBERED, KITTI, ["coco-to-kitti"]),
        (NUMBERED, VID, ["coco-to-vid"]),
        (NUMBERED, ["pedestrian"], ["coco-to-mot"]),
        (NUMBERED, ["person", "car"], ["by-name"]),
        (["cat", None], KITTI, []),
        (["person", "hat"], ["hat"], ["by-name"]),
    ],
)
def test_fitting_maps_are_named(
    classes: list[str | None], dataset: list[str], maps: list[str]
) -> None:
    assert class_maps.fitting(classes, dataset) == maps
