"""Drawn clips: determinism, labels from silhouettes, splits, and the way through KITTI's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError, ResultError, UsageError
from maskvd_cli.core.types import Frame
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import RAW, make_boxes
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.data.registry import datasets
from maskvd_cli.data.rendered_sets import camera_choice, write_clips, write_reenactment
from maskvd_cli.data.rendering.frames import render
from maskvd_cli.data.rendering.labels import clip_rows, frame_rows
from maskvd_cli.data.rendering.reenact import Reenactment, fitted, parse_rows, travel_m
from maskvd_cli.data.rendering.sketch import Sketch
from maskvd_cli.data.rendering.world import SIZE, Actors, Family, Props, World, build_world
from maskvd_cli.data.synthetic import LabelRow, write_labels
from maskvd_cli.data.synthetic_clips import SPLITS, Synthetic, SyntheticFrame

FRAMES = 6
PLACES: list[tuple[Family, int]] = [
    ("driving", 0), ("driving", 1), ("driving", 2), ("driving", 3), ("static", 0), ("static", 1),
]  # fmt: skip


def world_of(family: Family, number: int) -> World:
    return build_world(family, (5,), number, FRAMES)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "kitti"
    write_clips(folder, 2, 3, 0)
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {split: (seed, 4, 3) for split, (seed, _, _) in SPLITS.items()}
    monkeypatch.setattr("maskvd_cli.data.synthetic_clips.SPLITS", small)


def image_of(world: World, frame: int) -> np.ndarray:
    image = render(world, frame).image
    assert image is not None
    return image


def test_same_arguments_same_bytes(written: Path, tmp_path: Path) -> None:
    build_world.cache_clear()
    summary = write_clips(tmp_path / "again", 2, 3, 0)
    assert contents(written) == contents(tmp_path / "again")
    assert (summary.clips, summary.frames) == (2, 6)
    labels = b"".join(contents(written)[f"training/label_02/000{clip}.txt"] for clip in (0, 1))
    assert sum(summary.boxes.values()) == len(labels.splitlines())
    write_clips(tmp_path / "other", 2, 3, 1)
    other = contents(tmp_path / "other")
    assert all(other[name] != data for name, data in contents(written).items() if "0" in name[-8:])


@pytest.mark.parametrize(("family", "number"), PLACES)
def test_a_frame_needs_no_other_frame(family: Family, number: int) -> None:
    world = world_of(family, number)
    in_turn = [image_of(world, frame) for frame in range(FRAMES)]
    build_world.cache_clear()
    alone = image_of(world_of(family, number), FRAMES - 1)
    assert alone.shape == (*SIZE, 3)
    assert alone.dtype == np.uint8
    np.testing.assert_array_equal(alone, in_turn[-1])
    assert (in_turn[0] != in_turn[1]).any()


@pytest.mark.parametrize(("family", "number"), PLACES)
def test_boxes_are_the_bounds_of_what_can_be_seen(family: Family, number: int) -> None:
    world, checked = world_of(family, number), 0
    for frame in (0, FRAMES - 1):
        drawn = render(world, frame)
        for row in frame_rows(world, frame, drawn.visible):
            if row.kind == "DontCare":
                continue
            rows, cols = np.nonzero(drawn.ids == row.track + 1)
            bounds = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
            assert row.values[1:5] == tuple(map(float, bounds))
            assert row.kind == world.actors.kinds[row.track]
            checked += 1
    assert checked


@pytest.mark.parametrize(("family", "number"), PLACES)
def test_labels_do_not_need_the_image(family: Family, number: int) -> None:
    world = world_of(family, number)
    with_image, without = render(world, 2), render(world, 2, with_image=False)
    assert without.image is None
    np.testing.assert_array_equal(with_image.ids, without.ids)
    assert with_image.visible == without.visible


def alone(world: World, actor: int) -> np.ndarray:
    """Return where an actor shows when nobody else and nothing stands in the way."""
    actors = world.actors
    one = Actors(
        [actors.kinds[actor]],
        actors.bodies[actor : actor + 1],
        actors.motion[actor : actor + 1],
        [actors.looks[actor]],
    )
    return render(replace(world, actors=one), 0, with_image=False).ids == 1


def test_nearer_ones_hide_farther_ones() -> None:
    contested_pixels = 0
    for family, number in PLACES:
        full = world_of(family, number)
        world = replace(full, props=Props([], np.zeros((0, 3)), []))
        drawn = render(world, 0, with_image=False)
        outlines = {one.actor: alone(world, one.actor) for one in drawn.visible}
        for near in drawn.visible:
            for far in drawn.visible:
                if near.depth_m < far.depth_m:
                    contested = outlines[near.actor] & outlines[far.actor]
                    contested_pixels += int(contested.sum())
                    assert not (drawn.ids[contested] == far.actor + 1).any()
    assert contested_pixels > 500


def test_things_beside_the_road_hide_who_is_behind() -> None:
    hidden = 0
    for family, number in PLACES:
        world = world_of(family, number)
        bare = replace(world, props=Props([], np.zeros((0, 3)), []))
        with_things, without = (render(one, 0, with_image=False).ids for one in (world, bare))
        hidden += int(((with_things == 0) & (without > 0)).sum())
        shown = with_things > 0
        np.testing.assert_array_equal(with_things[shown], without[shown])
    assert hidden > 100


def test_occlusion_and_truncation_agree_with_the_pixels() -> None:
    states: set[tuple[int, int]] = set()
    for family, number in PLACES:
        world = world_of(family, number)
        drawn = render(world, 0, with_image=False)
        found = {one.actor: one for one in drawn.visible}
        for row in frame_rows(world, 0, drawn.visible):
            if row.kind == "DontCare":
                assert (row.track, row.truncated, row.occluded) == (-1, -1, -1)
                continue
            states.add((row.truncated, row.occluded))
            share = found[row.track].seen / found[row.track].drawn
            assert row.occluded == (0 if share >= 0.9 else 1 if share >= 0.5 else 2)
            x1, y1, x2, y2 = row.values[1:5]
            if row.truncated:
                assert x1 == 0 or y1 == 0 or x2 == SIZE.cols or y2 == SIZE.rows
    assert {truncated for truncated, _ in states} == {0, 1}
    assert {occluded for _, occluded in states} == {0, 1, 2}


def test_a_static_camera_stands_still_and_a_driving_one_moves() -> None:
    still = world_of("static", 0).path
    assert (still == still[0]).all()
    assert world_of("driving", 2).path[-1, 2] - world_of("driving", 2).path[0, 2] > 5
    assert (world_of("static", 0).fps, world_of("driving", 0).fps) == (25.0, 10.0)


def test_road_users_enter_and_leave() -> None:
    world = build_world("driving", (5,), 0, 40)
    seen = [
        {one.actor for one in render(world, frame, with_image=False).visible if one.box}
        for frame in (0, 39)
    ]
    assert seen[0] - seen[1]
    assert seen[1] - seen[0]


def test_written_clips_are_read_by_kitti(written: Path) -> None:
    dataset = Kitti(written, "train", RAW)
    clips = list(dataset.clips())
    assert [clip.name for clip in clips] == ["0000", "0001"]
    assert dataset.tally.note() is None
    for clip, family in zip(clips, ("driving", "static"), strict=True):
        world = build_world(family, (0,), 0, 3)
        expected = clip_rows(world)
        for frame in clip.frames:
            rows = [row for row in expected if row.frame == frame.index]
            assert frame.boxes.xyxy.tolist() == [list(row.values[1:5]) for row in rows]
            assert frame.boxes.track_ids.tolist() == [row.track for row in rows]
            np.testing.assert_array_equal(dataset.image(frame), image_of(world, frame.index))


@pytest.mark.usefixtures("few")
def test_on_the_fly_equals_written(written: Path) -> None:
    fly, disk = Synthetic(None, "train"), Kitti(written, "train", "kitti-ignore")
    for drawn, stored in zip(fly.clips(), disk.clips(), strict=False):
        for ours, theirs in zip(drawn.frames, stored.frames, strict=True):
            np.testing.assert_array_equal(ours.boxes.xyxy, theirs.boxes.xyxy)
            np.testing.assert_array_equal(ours.boxes.labels, theirs.boxes.labels)
            np.testing.assert_array_equal(fly.image(ours), disk.image(theirs))


@pytest.mark.usefixtures("few")
def test_splits_share_no_seed() -> None:
    seeds: dict[str, set[tuple[int, ...]]] = {}
    for split in Synthetic.splits:
        clips = list(Synthetic(None, split).clips())
        frames = [frame for clip in clips for frame in clip.frames]
        assert all(isinstance(frame, SyntheticFrame) and frame.file is None for frame in frames)
        seeds[split] = {frame.seed for frame in frames if isinstance(frame, SyntheticFrame)}
        assert {frame.family for frame in frames if isinstance(frame, SyntheticFrame)} == {
            "driving",
            "static",
        }
    assert not seeds["train"] & seeds["val"]


@pytest.mark.usefixtures("few")
def test_protocols_merge_drop_and_ignore_as_kittis() -> None:
    assert datasets.load("synthetic") is Synthetic
    ignoring, paper = (list(Synthetic(None, "train", name).clips()) for name in Synthetic.protocols)
    assert Synthetic().classes == ("pedestrian", "car", "cyclist")
    for clip, other in zip(paper, ignoring, strict=True):
        for frame, again in zip(clip.frames, other.frames, strict=True):
            assert set(frame.boxes.labels.tolist()) <= {0, 1, 2}
            assert not frame.boxes.ignore.any()
            np.testing.assert_array_equal(frame.boxes.xyxy, again.boxes.objects)


@pytest.mark.usefixtures("few")
def test_no_folder_and_no_foreign_frame(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no folder"):
        Synthetic(tmp_path)
    frame = Frame(0, None, SIZE, make_boxes([], [], [], []))
    with pytest.raises(DatasetError, match="none of this dataset's"):
        Synthetic().image(frame)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    write_labels(tmp_path / "source", 3, 8, 2)
    return tmp_path / "source"


def test_reenactment_keeps_the_labels_byte_by_byte(labels: Path, tmp_path: Path) -> None:
    before = contents(labels)
    summary = write_reenactment(labels, tmp_path / "acted", 2, None, 0)
    assert contents(labels) == before
    made = contents(tmp_path / "acted")
    assert (summary.clips, summary.frames) == (2, 16)
    for name in ("training/label_02/0000.txt", "training/label_02/0001.txt"):
        assert made[name] == before[name]
    dataset = Kitti(tmp_path / "acted", "train", RAW)
    images = [dataset.image(frame) for clip in dataset.clips() for frame in clip.frames]
    assert len(images) == 16


def test_reenactment_of_the_first_frames_keeps_their_lines(labels: Path, tmp_path: Path) -> None:
    write_reenactment(labels, tmp_path / "acted", 1, 3, 0)
    source = contents(labels)["training/label_02/0000.txt"].splitlines(keepends=True)
    kept = [line for line in source if int(line.split()[0]) < 3]
    assert contents(tmp_path / "acted")["training/label_02/0000.txt"] == b"".join(kept)


def row(frame: int, track: int, box: tuple[float, ...], z: float, kind: str = "Car") -> LabelRow:
    return LabelRow(frame, track, kind, 0, 0, (0.0, *box, 1.5, 1.7, 4.0, 0.0, 1.65, z, -1.57))


def test_figures_fill_their_boxes_and_nothing_else() -> None:
    box = (400.0, 150.0, 520.0, 230.0)
    seed = (3,)
    empty = Reenactment((), 1, SIZE, seed).image(0).astype(int)
    acted = Reenactment((row(0, 1, box, 20.0),), 1, SIZE, seed).image(0).astype(int)
    changed = np.abs(acted - empty).max(axis=2) > 24
    # Above the ground there is no shadow, so that every change there is the car's.
    rows, cols = np.nonzero(changed[:190])
    assert abs(cols.min() - box[0]) <= 12
    assert abs(cols.max() - box[2]) <= 12
    assert abs(rows.min() - box[1]) <= 3


def test_the_nearer_of_two_real_boxes_is_in_front() -> None:
    box = (400.0, 150.0, 520.0, 230.0)
    near, far = row(0, 1, box, 10.0), row(0, 2, box, 30.0)
    one = Reenactment((near, far), 1, SIZE, (3,)).image(0)
    other = Reenactment((far, near), 1, SIZE, (3,)).image(0)
    np.testing.assert_array_equal(one, other)
    alone = Reenactment((near,), 1, SIZE, (3,)).image(0)[155:225, 440:480].astype(int)
    behind = Reenactment((far,), 1, SIZE, (3,)).image(0)[155:225, 440:480].astype(int)
    shown = one[155:225, 440:480].astype(int)
    assert np.abs(shown - alone).mean() < np.abs(shown - behind).mean()


def test_a_side_cut_by_the_border_is_not_squeezed() -> None:
    corners = np.array([(-200.0, 100.0), (100.0, 100.0), (100.0, 200.0), (-200.0, 200.0)])
    sketch = Sketch(corners, np.array([4]), np.zeros((1, 3)), np.zeros(1, dtype=np.bool_))
    free = fitted(sketch, (300.0, 50.0, 400.0, 150.0), SIZE).corners
    assert free.min(axis=0) == pytest.approx([300, 50])
    assert free.max(axis=0) == pytest.approx([400, 150])
    cut = fitted(sketch, (0.0, 50.0, 120.0, 150.0), SIZE).corners
    assert cut[:, 0].min() == pytest.approx(-200)
    assert cut[:, 0].max() == pytest.approx(120)


def test_the_road_moves_as_parked_cars_come_nearer() -> None:
    box = (400.0, 150.0, 520.0, 230.0)
    rows = tuple(row(frame, 1, box, 50.0 - frame) for frame in range(30))
    travelled = travel_m(rows, 30)
    assert np.diff(travelled)[10:20] == pytest.approx(1.0)
    assert travel_m((), 5).tolist() == [0.0] * 5


def test_parsed_rows_are_the_written_ones() -> None:
    rows = [row(0, 1, (1.0, 2.0, 30.0, 40.0), 9.0), row(3, 2, (1.0, 2.0, 30.0, 40.0), 8.0, "Van")]
    assert parse_rows("".join(one.line() for one in rows)) == rows


def test_bad_arguments_are_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="frames: 1 is too small"):
        write_clips(tmp_path / "set", 1, 1, 0)
    with pytest.raises(UsageError, match="did you mean 'driving'"):
        camera_choice("drivin")
    with pytest.raises(UsageError, match="not an empty folder"):
        write_clips(labels, 1, 2, 0)
    with pytest.raises(UsageError, match="not an empty folder"):
        write_reenactment(labels, tmp_path, 1, 2, 0)
    with pytest.raises(ResultError, match="inside the dataset's folder"):
        write_reenactment(labels, labels / "acted", 1, 2, 0)
    with pytest.raises(ResultError, match="inside the dataset's folder"):
        write_reenactment(labels / "training", labels / "acted", 1, 2, 0)
    with pytest.raises(DatasetError):
        write_reenactment(tmp_path / "absent", tmp_path / "out", 1, 2, 0)
    assert not (tmp_path / "set").exists()
    assert not (labels / "acted").exists()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("protocol", ["kitti-ignore", "maskvd-paper", RAW])
def test_silhouettes_are_what_can_be_seen_of_each_road_user(protocol: str) -> None:
    ignored = 0
    for clip in Synthetic(split="train", protocol=protocol).clips():
        for frame in clip.frames:
            made = frame.silhouettes()
            assert made is not None and len(made) == len(frame.boxes)
            # Boxes bound the visible pixels, which is all that is known of ignored ones, too.
            assert np.array_equal(silhouettes.bounds(made), frame.boxes.xyxy)
            assert frame.silhouette_content() == b""
            masks = silhouettes.decoded(made, frame.size)
            ignore = frame.boxes.ignore | (frame.boxes.track_ids < 0)
            # What stands in front hides what is behind: no pixel shows two.
            assert masks[~ignore].sum(0).max(initial=0) <= 1
            for mask, (x1, y1, x2, y2) in zip(
                masks[ignore], frame.boxes.xyxy[ignore].astype(int).tolist(), strict=True
            ):
                assert mask[y1:y2, x1:x2].all()
            ignored += int(ignore.sum())
    assert ignored or protocol != "kitti-ignore"


@pytest.mark.usefixtures("few")
def test_silhouettes_are_the_drawn_ids() -> None:
    clip = next(iter(Synthetic(split="val").clips()))
    frame = next(frame for frame in clip.frames if len(frame.boxes.objects) > 1)
    assert isinstance(frame, SyntheticFrame)
    ids = render(frame.world, frame.index).ids
    masks = silhouettes.decoded(frame.silhouettes(), frame.size)
    named = ~frame.boxes.ignore
    for mask, track in zip(masks[named], frame.boxes.track_ids[named].tolist(), strict=True):
        assert np.array_equal(mask, ids == track + 1)
