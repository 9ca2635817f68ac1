from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import RAW
from maskvd_cli.data.kitti import Kitti, native_size
from maskvd_cli.data.kitti_labels import NATIVE_CLASSES
from maskvd_cli.data.synthetic import (
    CENTRE_X_PX,
    CENTRE_Y_PX,
    FOCAL_PX,
    LabelRow,
    LabelSummary,
    scene_rows,
    write_labels,
)

CLIPS, FRAMES, SEED = 10, 61, 3
ROUNDING_PX = 1e-6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabelSummary]:
    folder = tmp_path_factory.mktemp("synthetic") / "kitti"
    return folder, write_labels(folder, CLIPS, FRAMES, SEED)


@pytest.fixture(scope="module")
def rows() -> list[list[LabelRow]]:
    return [scene_rows(clip, FRAMES, SEED) for clip in range(20)]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def objects(clips: list[list[LabelRow]]) -> list[LabelRow]:
    return [row for clip in clips for row in clip if row.kind != "DontCare"]


def tracked(clip: list[LabelRow]) -> Iterator[list[LabelRow]]:
    for track in {row.track for row in clip} - {-1}:
        yield [row for row in clip if row.track == track]


def token_share(clip: Clip) -> list[float]:
    """Return by frame which share of the 16 x 16 tokens of a 370 x 672 frame the boxes touch."""
    shares: list[float] = []
    for frame in clip.frames:
        tokens = np.zeros((24, 42), dtype=np.bool_)
        scale = np.array([672 / frame.size.cols, 370 / frame.size.rows] * 2) / 16
        for x1, y1, x2, y2 in (frame.boxes.objects * scale).tolist():
            tokens[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = True
        shares.append(float(tokens.mean()))
    return shares


def project(values: tuple[float, ...]) -> NDArray[np.float64]:
    """Return x1 y1 x2 y2 of a row's 3-D columns, corner by corner as KITTI's own kit does it."""
    height, width, length, x, y, z, turn = values[5:]
    rotation = np.array(
        [[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]]
    )
    camera = np.array([[FOCAL_PX, 0, CENTRE_X_PX], [0, FOCAL_PX, CENTRE_Y_PX], [0, 0, 1]])
    corners = [
        rotation @ (along * length / 2, -up * height, aside * width / 2) + (x, y, z)
        for along in (-1, 1)
        for up in (0, 1)
        for aside in (-1, 1)
    ]
    image = np.array([camera @ corner for corner in corners])
    points = image[:, :2] / image[:, 2:]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


@pytest.mark.parametrize("protocol", ["maskvd-paper", "kitti-ignore", RAW])
@pytest.mark.parametrize(
    ("split", "frames"),
    [("train", range(61)), ("train-half", range(30)), ("val-half", range(30, 61))],
)
def test_kitti_reads_it_whole(
    written: tuple[Path, LabelSummary], split: str, frames: range, protocol: str
) -> None:
    dataset = Kitti(written[0], split, protocol)
    clips = list(dataset.clips())
    assert [clip.name for clip in clips] == [f"{clip:04d}" for clip in range(CLIPS)]
    assert all([frame.index for frame in clip.frames] == list(frames) for clip in clips)
    assert dataset.tally.read > 0
    assert dataset.tally.note() is None


def test_summary_counts_what_is_in_the_files(written: tuple[Path, LabelSummary]) -> None:
    folder, summary = written
    kinds = Counter(
        line.split()[2]
        for file in folder.glob("training/label_02/*.txt")
        for line in file.read_text(encoding="ascii").splitlines()
    )
    assert summary == LabelSummary(CLIPS, CLIPS * FRAMES, dict(kinds))
    assert set(kinds) <= set(NATIVE_CLASSES)


def test_lines_have_kittis_columns_in_order(written: tuple[Path, LabelSummary]) -> None:
    for file in written[0].glob("training/label_02/*.txt"):
        lines = [line.split(" ") for line in file.read_text(encoding="ascii").splitlines()]
        assert all(len(line) == 17 for line in lines)
        assert all(len(number.partition(".")[2]) == 6 for line in lines for number in line[5:])
        heads = [(int(line[0]), int(line[1])) for line in lines]
        assert heads == sorted(heads)


def test_same_seed_same_bytes_other_seed_other_labels(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        write_labels(tmp_path / name, 5, 12, seed)
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys()
    labels = [name for name in one if "label_02" in name]
    assert len(labels) == 5
    assert all(one[name] != other[name] for name in labels)


def test_clip_does_not_depend_on_the_number_of_clips(tmp_path: Path) -> None:
    write_labels(tmp_path / "few", 2, 12, SEED)
    write_labels(tmp_path / "many", 6, 12, SEED)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert len(many) == 7
    for name in ("training/label_02/0000.txt", "training/label_02/0001.txt"):
        assert few[name] == many[name]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    assert write_labels(tmp_path, 1, 2, 0).frames == 2


def test_a_folder_with_anything_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.joinpath("notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder; name a new or empty one"):
        write_labels(tmp_path, 1, 2, 0)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set"
    file.write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        write_labels(file, 1, 2, 0)


@pytest.mark.parametrize(
    ("clips", "frames", "seed", "message"),
    [
        (0, 2, 0, "clips: 0 is too small; give 1 or more"),
        (1, 1, 0, "frames: 1 is too small; give 2 or more"),
        (1, 2, -1, "seed: -1 is too small; give 0 or more"),
    ],
)
def test_numbers_that_make_no_set_are_refused(
    tmp_path: Path, clips: int, frames: int, seed: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write_labels(tmp_path / "set", clips, frames, seed)
    assert not tmp_path.joinpath("set").exists()


def test_boxes_lie_inside_their_image(rows: list[list[LabelRow]]) -> None:
    for clip, part in enumerate(rows):
        size = native_size(f"{clip:04d}")
        for row in part:
            x1, y1, x2, y2 = row.values[1:5]
            assert 0 <= x1 < x2 <= size.cols - 1
            assert 0 <= y1 < y2 <= size.rows - 1
            assert y2 - y1 >= 8


def test_box_is_the_projection_of_the_3d_columns(rows: list[list[LabelRow]]) -> None:
    for clip, part in enumerate(rows):
        size = native_size(f"{clip:04d}")
        for row in objects([part]):
            hull = project(row.values)
            box = np.clip(hull, 0, [size.cols - 1, size.rows - 1] * 2)
            np.testing.assert_allclose(row.values[1:5], box, atol=ROUNDING_PX)
            if row.truncated:
                assert (hull != box).any()
            else:
                assert np.prod(box[2:] - box[:2]) >= 0.97 * np.prod(hull[2:] - hull[:2])


def test_angles_agree_with_the_place(rows: list[list[LabelRow]]) -> None:
    for row in objects(rows):
        alpha, x, z, turn = row.values[0], row.values[8], row.values[10], row.values[11]
        assert -math.pi <= alpha <= math.pi
        assert -math.pi <= turn <= math.pi
        assert math.cos(alpha - turn + math.atan2(x, z)) == pytest.approx(1.0)


def test_dont_care_rows_are_written_as_kitti_does(rows: list[list[LabelRow]]) -> None:
    regions = [row for clip in rows for row in clip if row.kind == "DontCare"]
    assert regions
    for row in regions:
        fields = row.line().split()
        assert fields[1:6] == ["-1", "DontCare", "-1", "-1", "-10.000000"]
        assert [float(field) for field in fields[10:]] == [-1000, -1000, -1000, -10, -1, -1, -1]


def test_tracks_keep_their_object_and_move_smoothly(rows: list[list[LabelRow]]) -> None:
    for clip in rows:
        for track in tracked(clip):
            assert len({(row.kind, row.values[5:8]) for row in track}) == 1
            for before, after in pairwise(track):
                if after.frame != before.frame + 1:
                    continue
                x1, y1, x2, y2 = np.array([before.values[1:5], after.values[1:5]]).T
                jump = math.hypot(float(np.diff(x1 + x2)[0]) / 2, float(np.diff(y1 + y2)[0]) / 2)
                assert jump < 180
                assert jump < 0.8 * float((x2 - x1 + y2 - y1).max())


def test_tracks_are_numbered_as_they_appear(rows: list[list[LabelRow]]) -> None:
    for clip in rows:
        firsts = {row.track: row.frame for row in reversed(objects([clip]))}
        assert sorted(firsts) == list(range(len(firsts)))
        assert [firsts[track] for track in sorted(firsts)] == sorted(firsts.values())


def test_nearer_objects_hide_farther_ones(rows: list[list[LabelRow]]) -> None:
    levels = Counter(row.occluded for row in objects(rows))
    assert set(levels) == {0, 1, 2}
    assert levels[0] > levels[1] + levels[2]
    for clip in rows:
        for row in objects([clip]):
            x1, y1, x2, y2 = row.values[1:5]
            if row.occluded == 0:
                continue
            others = [other for other in clip if other.frame == row.frame and other is not row]
            assert any(
                other.values[1] < x2 + 4
                and other.values[3] > x1 - 4
                and other.values[2] < y2 + 4
                and other.values[4] > y1 - 4
                for other in others
            )


def test_some_cameras_stand_still_and_some_drive(rows: list[list[LabelRow]]) -> None:
    approach_m: list[float] = []
    for clip in rows:
        steps = [pair for track in tracked(clip) for pair in pairwise(track)]
        moves = [before.values[10] - after.values[10] for before, after in steps]
        approach_m.append(float(np.median(np.abs(moves))))
    assert min(approach_m) < 0.01
    assert max(approach_m) > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_traffic_is_about_as_dense_as_on_kitti(tmp_path: Path, seed: int) -> None:
    write_labels(tmp_path / "set", 20, 40, seed)
    clips = list(Kitti(tmp_path / "set", "train").clips())
    counts = [len(frame.boxes) for clip in clips for frame in clip.frames]
    assert 3 <= np.mean(counts) <= 8
    assert max(counts) < 30
    assert 0 < np.mean(np.array(counts) == 0) < 0.15
    assert 0.08 <= np.mean([share for clip in clips for share in token_share(clip)]) <= 0.25
    boxes = np.concatenate([frame.boxes.objects for clip in clips for frame in clip.frames])
    low, middle, high = np.percentile(boxes[:, 3] - boxes[:, 1], (10, 50, 95))
    assert low < 35 < middle < 75
    assert high > 120


def test_every_class_of_road_user_appears(rows: list[list[LabelRow]]) -> None:
    kinds = Counter(row.kind for row in objects(rows))
    assert set(kinds) == {"Car", "Van", "Truck", "Pedestrian", "Cyclist"}
    assert kinds.most_common(1)[0][0] == "Car"
