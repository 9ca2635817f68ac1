"""KITTI's rows for what can be seen in a drawn frame."""

from __future__ import annotations

import math

import numpy as np

from maskvd_cli.data.rendering.camera import Camera
from maskvd_cli.data.rendering.frames import Visible, render
from maskvd_cli.data.rendering.world import World
from maskvd_cli.data.synthetic import LabelRow

# A box below this height (KITTI's for all but easy objects) or with fewer pixels names nobody; one
# that is lower still is not written.
LEAST_BOX_PX, LEAST_PIXELS, NO_BOX_PX = 25, 60, 5
# Of an object's pixels inside the image, the share that must be visible to be named, or written.
LEAST_SEEN, NO_SEEN = 0.25, 0.04
_LEAST_INSIDE, _WHOLE, _PARTLY, _LARGELY = 0.08, 0.97, 0.9, 0.5
_NO_ALPHA, _NO_3D = -10.0, (-1000.0, -1000.0, -1000.0, -10.0, -1.0, -1.0, -1.0)


def frame_rows(world: World, frame: int, visible: list[Visible]) -> list[LabelRow]:
    """Return a frame's rows, sorted; boxes are the bounds of visible pixels (edges, px).

    An object's track is its number in the world, the same over the clip.
    What is too small or too hidden becomes DontCare, and what hardly shows is left out.
    Truncated: 0 or 1; occluded: 0 (at least 90 % visible), 1 (at least half) or 2.
    """
    camera, spots = world.camera(frame), world.places(frame)
    rows: list[LabelRow] = []
    for found in visible:
        if found.box is None or not found.drawn:
            continue
        corners = tuple(float(edge) for edge in found.box)
        share, tall = found.seen / found.drawn, found.box[3] - found.box[1]
        named = share >= LEAST_SEEN and found.inside >= _LEAST_INSIDE
        if named and tall >= LEAST_BOX_PX and found.seen >= LEAST_PIXELS:
            occluded = 0 if share >= _PARTLY else 1 if share >= _LARGELY else 2
            values = _values(world, found.actor, camera, spots[found.actor].tolist(), corners)
            kind = world.actors.kinds[found.actor]
            truncated = int(found.inside < _WHOLE)
            rows.append(LabelRow(frame, found.actor, kind, truncated, occluded, values))
        elif share >= NO_SEEN and tall >= NO_BOX_PX:
            values = (_NO_ALPHA, *corners, *_NO_3D)
            rows.append(LabelRow(frame, -1, "DontCare", -1, -1, values))
    return sorted(rows)


def _values(world: World, actor: int, camera: Camera, spot: list[float],
            corners: tuple[float, ...]) -> tuple[float, ...]:  # fmt: skip
    """Return alpha, the box, size (m), place in the camera's axes (m), rotation_y."""
    size = world.actors.bodies[actor].tolist()
    x, y, z = camera.to_camera(np.array([[spot[0], 0.0, spot[1]]]))[0].tolist()
    turn = float(world.actors.motion[actor, 4]) - camera.yaw
    angles = [
        (angle + math.pi) % (2 * math.pi) - math.pi for angle in (turn - math.atan2(x, z), turn)
    ]
    return (angles[0], *corners, *size, x, y, z, angles[1])


def clip_rows(world: World) -> list[LabelRow]:
    """Return the rows of a whole clip; only id maps are drawn for them."""
    return [
        row
        for frame in range(len(world.path))
        for row in frame_rows(world, frame, render(world, frame, with_image=False).visible)
    ]
