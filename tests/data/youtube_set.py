"""A small set in YouTube-VIS' form: coloured ellipses that move over noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskvd_cli.core.size import Size
from maskvd_cli.data import silhouettes

SIZE = Size(64, 96)
CLASSES = ("disc", "pole")
_COLOURS, _SIDES = ((220, 40, 40), (40, 210, 60)), ((26, 26), (40, 14))


def write_youtube_vis(root: Path, split: str, videos: int = 2, frames: int = 4) -> Path:
    """Write `split`.json and JPEGImages/; two ellipses a video, the nearer hides the other."""
    drawn = np.random.default_rng([len(split), videos])
    listed: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for video in range(videos):
        names = [f"v{video}/{5 * frame:05d}.jpg" for frame in range(frames)]
        listed.append(
            {"id": video + 1, "width": SIZE.cols, "height": SIZE.rows, "file_names": names}
        )
        starts = drawn.uniform((16, 20), (48, 70), (2, 2))
        pace = drawn.uniform(-3, 3, (2, 2))
        shown: list[list[np.ndarray]] = [[], []]
        for frame, name in enumerate(names):
            pixels = drawn.integers(60, 120, (*SIZE, 3), dtype=np.uint8)
            front = np.zeros(SIZE, dtype=np.bool_)
            masks = [_ellipse(starts[one] + frame * pace[one], _SIDES[one]) for one in (0, 1)]
            for one in (1, 0):
                seen = masks[one] & ~front
                front |= masks[one]
                pixels[seen] = _COLOURS[one]
                shown[one].append(seen)
            file = root / split / "JPEGImages" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file, quality=95)
        instances += [
            {"id": len(instances) + one, "video_id": video + 1, "category_id": one + 1,
             "iscrowd": 0, "segmentations": [_runs(mask) for mask in shown[one]]}
            for one in (0, 1)
        ]  # fmt: skip
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    content = {"videos": listed, "annotations": instances, "categories": categories}
    (root / f"{split}.json").write_text(json.dumps(content))
    return root


def _ellipse(centre: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    rows, cols = np.mgrid[: SIZE.rows, : SIZE.cols] + 0.5
    across = (cols - centre[1]) / (sides[1] / 2)
    return across**2 + ((rows - centre[0]) / (sides[0] / 2)) ** 2 <= 1


def _runs(mask: np.ndarray) -> dict[str, Any] | None:
    if not mask.any():
        return None
    (made,) = silhouettes.encoded([mask])
    return {"size": list(SIZE), "counts": made["counts"].decode()}
