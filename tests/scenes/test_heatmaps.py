"""Where a heatmap comes from is told, and a file may stand in for a split."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError, MaskvdError, ResultError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.geometry import Geometry
from maskvd_cli.scenes.given_heatmap import read_heatmap_file
from maskvd_cli.scenes.static_mask import make_static_mask, preview
from maskvd_cli.store.arrays import save_arrays
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare

ROW = "{frame} {track} Car 0 0 0.0 {x} 100 {right} 200 1.5 1.6 3.9 0.0 1.6 20.0 0.0"


def kitti(root: Path, frames: int = 4, offset: int = 0) -> Path:
    folder = root / "training/label_02"
    folder.mkdir(parents=True)
    rows = [
        ROW.format(frame=frame, track=0, x=100 + offset + frame, right=300 + frame)
        for frame in range(frames)
    ]
    (folder / "0000.txt").write_text("\n".join(rows) + "\n")
    return root


def coco(root: Path, name: str) -> Path:
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48, "video_id": 1, "frame_id": i}
        for i in range(4)
    ]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 9, 9]} for i in range(4)]
    content = {
        "images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}],
    }  # fmt: skip
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def recipe(folder: Path, **sections: Any) -> Path:
    content = {
        "schema": 1, "name": "small", "methods": [
            {"name": "maskvd", "period": 4, "static_keep_rate": 0.3}
        ],
    } | sections  # fmt: skip
    file = folder / "small.yaml"
    file.write_text(json.dumps(content))
    return file


def notes(file: Path, *assignments: str) -> list[str]:
    sweep = prepare(load_recipe(file, catalog(), assignments))
    return sweep.scene.notes()


def key(file: Path, *assignments: str) -> str:
    (point,) = prepare(load_recipe(file, catalog(), assignments)).points
    return point.key


def opened(file: Path, *assignments: str) -> tuple[Annotations, Geometry]:
    loaded = load_recipe(file, catalog(), assignments).recipe
    return Annotations(loaded), Geometry.of(loaded, loaded.model.input[0])


def test_the_heatmap_names_folder_split_frames_and_classes(tmp_path: Path) -> None:
    file = recipe(tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))})
    assert notes(file) == [
        "Heatmap from training/label_02 (kitti, split train-half): 1 clip, 2 frames, all boxes."
    ]


def test_a_heatmap_of_what_is_evaluated_is_told(tmp_path: Path) -> None:
    file = recipe(
        tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k")), "split": "train"}
    )
    assert notes(file)[1] == (
        "The heatmap was made from 2 of the 4 frames that are evaluated, so static masks know "
        "where their objects are: take it from another split or file (--set heatmap.split=..., "
        "--set heatmap.file=...)."
    )


def test_one_file_for_every_split_is_told(tmp_path: Path) -> None:
    annotated = coco(tmp_path, "all.json")
    file = recipe(tmp_path, dataset={"name": "coco-video", "root": str(annotated)},
                  heatmap={"canvas": "48x64"})  # fmt: skip
    found = notes(file)
    assert (
        found[0] == "Heatmap from all.json (coco-video, split train): 1 clip, 4 frames, all boxes."
    )
    assert found[1].startswith("The heatmap was made from 4 of the 4 frames that are evaluated")


@pytest.mark.parametrize("with_images", [False, True])
def test_two_files_of_the_same_images_are_told(with_images: bool, tmp_path: Path) -> None:
    for split in ("train", "val"):
        coco(tmp_path / "set", f"annotations/{split}.json")
    if with_images:
        for number in range(3):
            (tmp_path / f"set/{number}.jpg").touch()
    file = recipe(tmp_path, dataset={"name": "coco-video", "root": str(tmp_path / "set")},
                  heatmap={"canvas": "48x64"})  # fmt: skip
    warned = [note for note in notes(file) if "are evaluated" in note]
    assert len(warned) == with_images
    assert all("3 of the 4 frames" in note for note in warned)


def test_a_missing_training_split_names_the_heatmap(tmp_path: Path) -> None:
    coco(tmp_path / "set", "annotations/val.json")
    file = recipe(tmp_path, dataset={"name": "coco-video", "root": str(tmp_path / "set")},
                  heatmap={"canvas": "48x64"})  # fmt: skip
    with pytest.raises(DatasetError) as caught:
        notes(file)
    text = str(caught.value)
    assert "no annotations of split 'train'" in text
    assert "(needed for the heatmap)" in text
    assert text.endswith(
        ", or take the heatmap from another split (--set heatmap.split=val) or file "
        "(--set heatmap.file=FILE)"
    )
    assert notes(file, "heatmap.split=val")


def published(file: Path, counts: object = None) -> Path:
    if counts is None:
        counts = np.zeros((384, 1280), dtype=np.int64)
        counts[100:200, 100:300] = 7
    with file.open("wb") as opened:
        np.lib.format.write_array(opened, np.asarray(counts), allow_pickle=True)
    return file


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.uint16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_published_array_is_read(kind: type, order: Any, tmp_path: Path) -> None:
    counts = np.arange(12, dtype=kind).reshape(3, 4).copy(order=order)
    found, said = read_heatmap_file(published(tmp_path / "h.npy", counts))
    assert found.tolist() == counts.tolist()
    assert found.dtype == np.float64
    assert said == {"coordinates": "native", "canvas": "3x4"}


def test_a_file_stands_in_for_the_split(tmp_path: Path) -> None:
    root = kitti(tmp_path / "k")
    made = published(tmp_path / "heatmap_kitti.npy")
    file = recipe(tmp_path, dataset={"name": "kitti", "root": str(root)},
                  heatmap={"file": "heatmap_kitti.npy"})  # fmt: skip
    (origin,) = notes(file)
    assert origin.startswith("Heatmap from heatmap_kitti.npy (sha256 ")
    assert origin.endswith(", 384x1280), which does not say what it saw.")
    source, geometry = opened(file)
    assert source.heatmap(geometry).counts.sum() == 7 * 100 * 200
    setting = source.heatmap_setting(geometry)
    assert set(setting) == {"file", "canvas", "coordinates", "align"}
    assert len(setting["file"]) == 64
    before = key(file)
    counts = np.load(made)
    counts[0, 0] += 1
    published(made, counts)
    assert key(file) != before
    assert key(file, "heatmap.file=null") not in (before, key(file))


def test_set_takes_a_heatmap_file_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    file = recipe(
        tmp_path / "recipes", dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))}
    )
    published(tmp_path / "given.npy")
    monkeypatch.chdir(tmp_path)
    assert notes(file, "heatmap.file=given.npy")[0].startswith("Heatmap from given.npy")


def test_our_own_file_gives_the_mask_of_its_split(tmp_path: Path) -> None:
    file = recipe(tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))})
    source, geometry = opened(file)
    made = source.heatmap(geometry)
    save_arrays(tmp_path / "h.npz", {"heatmap": made.counts.numpy()}, made.metadata())
    given, _ = opened(file, f"heatmap.file={tmp_path / 'h.npz'}")
    scores = [s.region_scores(geometry, Size(375, 1242)) for s in (source, given)]
    assert scores[0].tolist() == scores[1].tolist()
    (origin,) = notes(file, f"heatmap.file={tmp_path / 'h.npz'}")
    assert origin.endswith("made from dataset kitti, split train-half, frames 2.")
    told = notes(file, f"heatmap.file={tmp_path / 'h.npz'}", "dataset.split=train-half")
    assert told[1].startswith("The file says that its heatmap was made from train-half, the split")


def header(shape: str, kind: str = "<f8", rest: bytes = b"") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + rest


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no heatmap file ("),
        (b"not an array", "no heatmap file ("),
        (header("(100000, 100000)"), "no heatmap file (an array 100000x100000 of float64"),
        (header("(16000, 16000)"), "no heatmap file (its header promises 2048000000 bytes that"),
        (header("(4,)", rest=bytes(32)), "no heatmap file (an array 4 of float64"),
        (header("()", rest=bytes(8)), "no heatmap file (an array of float64"),
        (header("(1, 1)", "|O", bytes(8)), "no heatmap file (an array 1x1 of object"),
        (header("(1, 1)", "|b1", b"\x01"), "no heatmap file (an array 1x1 of bool"),
        (header("(1, 1)", rest=struct.pack("<d", -1.0)), "counts outside 0..2^53"),
        (header("(1, 1)", rest=struct.pack("<d", float("nan"))), "counts outside 0..2^53"),
    ],
)
def test_arrays_that_are_no_heatmap(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "h.npy"
    file.write_bytes(content)
    with pytest.raises(ResultError) as caught:
        read_heatmap_file(file)
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_nothing_pickled_is_read(tmp_path: Path) -> None:
    file = published(tmp_path / "h.npy", np.array([[{"a": 1}]], dtype=object))
    with pytest.raises(ResultError, match="of object"):
        read_heatmap_file(file)


@pytest.mark.parametrize("name", ["h.npy", "h.npz"])
def test_a_pipe_in_place_of_a_heatmap_does_not_hang(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ResultError, match="not a regular file"):
        read_heatmap_file(tmp_path / name)


@pytest.mark.parametrize(
    ("assignments", "kind", "reason"),
    [
        (["heatmap.canvas=100x200"], UsageError, "and the recipe's canvas is 100x200"),
        (["heatmap.canvas=input"], UsageError, "and the recipe's input is 672x672"),
    ],
)
def test_files_that_do_not_fit_the_recipe(
    assignments: list[str], kind: type[MaskvdError], reason: str, tmp_path: Path
) -> None:
    published(tmp_path / "h.npy")
    file = recipe(tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))},
                  heatmap={"file": "h.npy"})  # fmt: skip
    with pytest.raises(kind, match=reason):
        notes(file, *assignments)


def test_an_empty_heatmap_is_refused(tmp_path: Path) -> None:
    published(tmp_path / "h.npy", np.zeros((384, 1280)))
    file = recipe(tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))},
                  heatmap={"file": "h.npy"})  # fmt: skip
    with pytest.raises(ResultError, match="holds no box"):
        notes(file)


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
def test_masks_of_any_patch(patch: int) -> None:
    counts = np.zeros((384, 1280))
    counts[:, :640] = 3
    side = 672
    made = make_static_mask(
        counts, {}, Path("h.npz"), keep_rate=0.25, frame=Size(370, 672),
        input_size=Size(side, side), align="canvas", patch=patch,
    )  # fmt: skip
    tokens = side // patch
    assert made.mask.shape == (tokens, tokens)
    assert made.mask.sum() == int(0.25 * tokens * tokens)
    assert made.real.sum() == -(-370 // patch) * tokens
    assert preview(counts, 0.5, patch).mask.shape == (-(-384 // patch), -(-1280 // patch))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, Size(370, 672)),
        ({"input": "672x672"}, Size(370, 672)),
        ({"input": "192x640"}, None),
        ({"input": "1024x1024"}, None),
        ({"input": "192x640", "frame": "192x640"}, Size(192, 640)),
        ({"input": "1024x1024", "frame": "370x672"}, Size(370, 672)),
    ],
)
def test_the_frame_follows_the_input(
    model: dict[str, str], expected: Size | None, tmp_path: Path
) -> None:
    file = recipe(
        tmp_path, dataset={"name": "kitti", "root": str(kitti(tmp_path / "k"))}, model=model
    )
    _, geometry = opened(file)
    assert geometry.frame == expected
    told = [note for note in notes(file) if note.startswith("Frames keep their aspect in")]
    assert len(told) == (expected is None)


def test_own_classes_have_a_heatmap(tmp_path: Path) -> None:
    from PIL import Image

    root = kitti(tmp_path / "k")
    file = root / "training/label_02/0000.txt"
    file.write_text(file.read_text().replace("Car", "zebra"))
    images = root / "training/image_02/0000"
    images.mkdir(parents=True)
    Image.new("RGB", (400, 250)).save(images / "000000.png")
    chosen = recipe(tmp_path, dataset={"name": "kitti", "root": str(root), "protocol": "own"})
    assert notes(chosen)[0].endswith("1 clip, 2 frames, all boxes.")
