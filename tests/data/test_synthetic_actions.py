"""Drawn actions: the same from the same seed, one class a clip, and each moves as it is called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Frame
from maskvd_cli.data.registry import datasets
from maskvd_cli.data.rendering.actions import ACTIONS, SIZE, build_scene
from maskvd_cli.data.rendering.people import RIGHT_ARM, figure, look_of
from maskvd_cli.data.synthetic_actions import SPLITS, SyntheticActions

NAMES = tuple(ACTIONS)
FRAMES = 48


def number_of(name: str, turn: int = 0) -> int:
    return NAMES.index(name) + turn * len(NAMES)


def test_it_is_registered_with_balanced_classes() -> None:
    assert datasets.load("synthetic-actions") is SyntheticActions
    dataset = SyntheticActions()
    clips = list(dataset.clips())
    assert dataset.classes == NAMES == tuple(sorted(NAMES))
    assert len(clips) == SPLITS["val"][1]
    assert set(np.bincount([int(clip.label or 0) for clip in clips])) == {len(clips) // len(NAMES)}
    assert (clips[0].frames[0].size, len(clips[0])) == (Size(128, 160), FRAMES)
    assert dataset.frames_per_s(clips[0]) == 25.0
    assert "drawn" in dataset.image_fingerprint(clips)


def test_a_frame_depends_on_seed_and_number_alone() -> None:
    dataset, again = SyntheticActions(), SyntheticActions()
    first, second = list(dataset.clips())[:2]
    image = dataset.image(first.frames[7])
    assert (image.shape, image.dtype) == ((128, 160, 3), np.uint8)
    build_scene.cache_clear()
    assert np.array_equal(again.image(next(again.clips()).frames[7]), image)
    assert not np.array_equal(dataset.image(second.frames[7]), image)
    learnt = SyntheticActions(split="train")
    assert not np.array_equal(learnt.image(next(learnt.clips()).frames[7]), image)


@pytest.mark.parametrize("name", NAMES)
def test_somebody_can_be_seen_in_the_middle_of_every_clip(name: str) -> None:
    for turn in range(4):
        scene = build_scene((3,), number_of(name, turn), FRAMES)
        assert len(scene.actors) == (2 if name == "crossing" else 1)
        with_them = scene.image(FRAMES // 2).astype(int)
        without = replace(scene, actors=()).image(FRAMES // 2).astype(int)
        changed = np.abs(with_them - without).max(axis=2) > 24
        assert 0.005 < changed.mean() < 0.4
        # Inside the middle square, which is what a look sees.
        assert changed[:, 16:144].sum() > 0.6 * changed.sum()


def moved(name: str, turn: int = 0) -> tuple[float, float, float]:
    """Metres to the right and away from the camera in a clip, and radians turned."""
    (actor, *_) = build_scene((3,), number_of(name, turn), FRAMES).actors
    first, last = actor.path(0.0), actor.path((FRAMES - 1) / 25)
    right, away, turned = (float(b - a) for a, b in zip(first, last, strict=True))
    return right, away, turned


def test_figures_move_as_their_action_says() -> None:
    for turn in range(5):
        walked, ran, rode = (moved(name, turn) for name in ("walking", "running", "cycling"))
        assert 1.8 < abs(walked[0]) < 3.2
        assert min(abs(ran[0]), abs(rode[0])) > 4.4
        assert moved("approaching", turn)[1] < -1.9
        assert moved("leaving", turn)[1] > 1.9
        assert abs(moved("turning", turn)[2]) > 4.5
        for name in ("standing", "waving", "jumping", "bending"):
            assert moved(name, turn) == (0.0, 0.0, 0.0)
        first, second = build_scene((3,), number_of("crossing", turn), FRAMES).actors
        ways = [actor.path(1.0)[0] - actor.path(0.0)[0] for actor in (first, second)]
        assert ways[0] * ways[1] < 0


def test_walkers_look_where_they_go() -> None:
    for name in ("walking", "running", "cycling", "approaching", "leaving"):
        for turn in range(4):
            (actor,) = build_scene((3,), number_of(name, turn), FRAMES).actors
            x, z, heading = actor.path(0.5)
            later = actor.path(0.6)
            step = np.array([later[0] - x, later[1] - z])
            ahead = np.array([np.cos(heading), -np.sin(heading)])
            assert float(step @ ahead) / np.linalg.norm(step) > 0.95


def limbs_of(name: str) -> list[np.ndarray]:
    (actor,) = build_scene((3,), number_of(name), FRAMES).actors
    rest = figure(actor.kind, actor.body, look_of(actor.look), 0.0, still=True)
    return [rest, *(actor.bearing(rest, time_s) for time_s in (0.1, 0.3, 0.5))]


def test_waving_moves_the_right_arm_alone() -> None:
    rest, *later = limbs_of("waving")
    # Left is the second coordinate; the hand hangs below the shoulder at rest.
    assert (rest[RIGHT_ARM][:, 1] < 0).all()
    assert rest[RIGHT_ARM][2, 5] < rest[RIGHT_ARM][0, 2]
    for limbs in later:
        others = np.delete(limbs, range(RIGHT_ARM.start, RIGHT_ARM.stop), axis=0)
        assert np.array_equal(others, np.delete(rest, range(9, 12), axis=0))
        assert limbs[RIGHT_ARM][2, 5] > limbs[RIGHT_ARM][0, 2]
    assert not np.allclose(later[0][RIGHT_ARM], later[1][RIGHT_ARM])


def test_bending_and_jumping_move_the_body() -> None:
    rest, *later = limbs_of("jumping")
    for limbs in later:
        lifted = (limbs - rest)[:, [2, 5]]
        assert np.ptp(lifted) < 1e-9
    assert np.ptp([float((limbs - rest)[0, 2]) for limbs in later]) > 0.02
    rest, *later = limbs_of("bending")
    heights = [float(limbs[:, [2, 5]].max()) for limbs in later]
    assert min(heights) < float(rest[:, [2, 5]].max()) - 0.02


def test_frames_of_others_and_folders_are_refused(tmp_path: object) -> None:
    from pathlib import Path

    from maskvd_cli.core.types import NO_BOXES

    with pytest.raises(DatasetError, match="none of this dataset's"):
        SyntheticActions().image(Frame(0, None, SIZE, NO_BOXES))
    with pytest.raises(DatasetError, match="has no folder"):
        SyntheticActions(Path("/tmp"))
