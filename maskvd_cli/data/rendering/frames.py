"""One frame of a clip: its image, and which pixel shows which road user."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from maskvd_cli.data.rendering.camera import Camera, Floats
from maskvd_cli.data.rendering.light import Light
from maskvd_cli.data.rendering.people import draw_limbs, figure, look_of
from maskvd_cli.data.rendering.props import draw_prop, prop_shadow
from maskvd_cli.data.rendering.scenery import (
    ground_patch,
    paint_ground,
    paint_shadows,
    paint_sky,
    paint_wall,
)
from maskvd_cli.data.rendering.sketch import Ids, Image, Sketch, bounds, join, paint
from maskvd_cli.data.rendering.textures import grain, sensor_noise
from maskvd_cli.data.rendering.vehicles import draw_mesh, vehicle
from maskvd_cli.data.rendering.world import World

# Beyond these depths (m) nobody is drawn: they would be specks that no label names.
_SIGHT_M = {"Pedestrian": 42.0, "Cyclist": 46.0, "Car": 62.0, "Van": 68.0, "Truck": 75.0}
_PEOPLE = ("Pedestrian", "Person", "Person_sitting", "Cyclist")
_PROP_SIGHT_M, _CLOSE_M = 75.0, 1.2
_TEXTURED_PX = 18


class Visible(NamedTuple):
    """A road user of a frame: its number, how many pixels of it lie in the image and can be seen.

    `box` x1, y1, x2, y2 holds the pixels that can be seen (edges, in px); None where there is none.
    `inside` is the share of its outline's box that lies in the image.
    """

    actor: int
    drawn: int
    seen: int
    box: tuple[int, int, int, int] | None
    inside: float
    depth_m: float


@dataclass(frozen=True)
class Drawn:
    """A frame: `image` (rows, cols, 3) uint8 RGB or None, `ids` 0 or actor + 1, the road users."""

    image: Image | None
    ids: Ids
    visible: list[Visible]


class Pose(NamedTuple):
    """What a figure needs besides camera and light: `place` (x, height of the ground, z)."""

    kind: str
    body: tuple[float, float, float]
    look: int
    place: Floats
    heading: float
    speed_mps: float
    time_s: float


def sketch_of(pose: Pose, camera: Camera, light: Light, depth_m: float) -> Sketch:
    """Return a road user as seen by the camera."""
    if pose.kind in _PEOPLE:
        look = look_of(pose.look)
        still, height = abs(pose.speed_mps) < 0.25, pose.body[0]
        stride = 0.8 * height if pose.kind != "Cyclist" else 4.4
        turn = 2 * math.pi * abs(pose.speed_mps) * pose.time_s / stride * look.pace
        if pose.kind != "Cyclist":
            turn /= 2
        limbs = figure(pose.kind, pose.body, look, turn + look.start, still=still)
        return draw_limbs(limbs, pose.place, pose.heading, camera, light, depth_m)
    parts = vehicle(pose.kind, pose.body, pose.look)
    ahead = np.array([math.cos(pose.heading), 0.0, -math.sin(pose.heading)])
    eye = np.array([camera.x, camera.height, camera.z]) - pose.place
    # The part that reaches nearer to the camera comes last.
    near = [float(part.anchors[:, 0].mean() * (ahead @ eye)) for part in parts]
    order = sorted(range(len(parts)), key=near.__getitem__)
    return join(
        [draw_mesh(parts[i], pose.place, pose.heading, camera, light, depth_m) for i in order]
    )


def footprint(pose: Pose, grow: float = 1.0) -> Floats:
    """Return the four corners (4, 3) below a road user."""
    _, width, length = (grow * side for side in pose.body)
    if pose.kind in _PEOPLE and pose.kind != "Cyclist":
        length = width = 0.42 * grow
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) / 2 * (length, width)
    offsets = corners @ np.array([[cos, 0.0, -sin], [sin, 0.0, cos]])
    return offsets + pose.place * np.array([1.0, 0.0, 1.0])


def _poses(world: World, frame: int, camera: Camera) -> list[tuple[float, int, Pose]]:
    """Return depth, number and pose of the road users before the camera."""
    spots, actors = world.places(frame), world.actors
    points = np.column_stack([spots[:, 0], 0 * spots[:, 0], spots[:, 1]])
    seen = camera.to_camera(points + np.array([0.0, 0.8, 0.0]))
    sight = np.array([_SIGHT_M[kind] for kind in actors.kinds])
    wide = np.abs(seen[:, 0]) < 1.1 * seen[:, 2] + 12.0
    near = np.where(actors.bodies[:, 2] > 3.0, actors.bodies[:, 2] * 0.5 + 0.8, _CLOSE_M)
    chosen = np.flatnonzero((seen[:, 2] > near) & (seen[:, 2] < sight) & wide)
    made: list[tuple[float, int, Pose]] = []
    for item in chosen.tolist():
        motion = actors.motion[item]
        speed = float(np.hypot(motion[2], motion[3]))
        height, width, length = actors.bodies[item].tolist()
        pose = Pose(actors.kinds[item], (height, width, length), actors.looks[item], points[item],
                    float(motion[4]), speed, frame / world.fps)  # fmt: skip
        made.append((float(seen[item, 2]), item, pose))
    return made


def render(world: World, frame: int, *, with_image: bool = True) -> Drawn:
    """Draw a frame of a clip; it depends on no other frame.

    Without an image, `ids` and `visible` are the very same, at a fraction of the time.
    """
    camera, light = world.camera(frame), world.daylight.at(frame / world.fps)
    rows, cols = camera.size
    image = np.empty((rows, cols, 3), dtype=np.uint8) if with_image else None
    ids = np.zeros((rows, cols), dtype=np.int16)
    poses = _poses(world, frame, camera)
    if image is not None:
        paint_backdrop(image, world, camera, light, [pose for _, _, pose in poses])
    left, right = sorted(x for x, _ in world.walls)
    tasks: list[_Task] = [(*near, None) for near in near_props(world, camera)]
    beyond: list[_Task] = []
    for task in poses:
        (tasks if left < task[2].place[0] < right else beyond).append(task)
    visible: dict[int, Visible] = {}
    glows: list[tuple[int, Floats]] = []

    def draw(some: list[_Task]) -> None:
        for depth, item, pose in sorted(some, key=_far_to_near):
            if pose is None:
                _paint_prop(image, ids, world, item, camera, light, depth)
                continue
            sketch = sketch_of(pose, camera, light, depth)
            if len(sketch.ends):
                visible[item] = paint_figure(sketch, image, ids, item, depth)
                glows.append((item, sketch.lamps))

    draw(beyond)
    paint_walls(image, ids, world, camera, light)
    draw(tasks)
    found = [_measured(visible[item], ids) for item in sorted(visible)]
    if image is not None:
        image = finish(image, ids, light, glows, (*world.seed, frame), world.noise, world.blur)
    return Drawn(image, ids, found)


# Depth (m), number among actors or, without a pose, among props.
_Task = tuple[float, int, Pose | None]


def _far_to_near(task: _Task) -> tuple[float, bool, int]:
    depth, item, pose = task
    return -depth, pose is None, item


def paint_props(image: Image | None, ids: Ids, world: World, camera: Camera, light: Light) -> None:
    """Draw everything that stands beside the road, the nearest last."""
    for depth, item in sorted(near_props(world, camera), reverse=True):
        _paint_prop(image, ids, world, item, camera, light, depth)


def _paint_prop(  # noqa: PLR0913, PLR0917 - what is drawn on, what, seen how
    image: Image | None, ids: Ids, world: World, item: int, camera: Camera, light: Light,
    depth_m: float,
) -> None:  # fmt: skip
    props = world.props
    kind, look, place = props.kinds[item], props.looks[item], props.places[item]
    draw_prop(kind, look, place, camera, light, depth_m, image, ids)


def paint_figure(
    sketch: Sketch, image: Image | None, ids: Ids, item: int, depth_m: float
) -> Visible:
    """Draw a figure as `item` + 1; return it with all of its pixels counted as seen."""
    rows, cols = bounds(sketch, ids.shape)
    part = ids[rows, cols]
    if not part.size:
        return Visible(item, 0, 0, None, 0.0, depth_m)
    paint(sketch, image, ids, item + 1)
    mask = _where(part, item + 1)
    drawn = cv2.countNonZero(mask)
    low, high = sketch.corners.min(axis=0), sketch.corners.max(axis=0)
    cut_low, cut_high = np.maximum(low, 0), np.minimum(high, ids.shape[1::-1])
    area = float(np.prod(np.maximum(high - low, 1e-6)))
    inside = float(np.prod(np.maximum(cut_high - cut_low, 0.0))) / area
    if image is not None and part.shape[0] >= _TEXTURED_PX:
        texture = cv2.resize(grain(item % 4), part.shape[::-1], interpolation=cv2.INTER_LINEAR)
        target = image[rows, cols]
        cv2.copyTo(cv2.multiply(target, texture, scale=1 / 200), mask, target)
    x1, y1, x2, y2 = cols.start, rows.start, cols.stop, rows.stop
    return Visible(item, drawn, drawn, (x1, y1, x2, y2), inside, depth_m)


def _where(ids: Ids, number: int) -> Image:
    """Return 255 where `ids` is `number`, else 0."""
    return cv2.inRange(ids, (number,), (number,)).astype(np.uint8, copy=False)


def _measured(figure: Visible, ids: Ids) -> Visible:
    """Return a figure with the pixels that can still be seen when everything is drawn."""
    if figure.box is None:
        return figure
    x1, y1, x2, y2 = figure.box
    mask = _where(ids[y1:y2, x1:x2], figure.actor + 1)
    seen = cv2.countNonZero(mask)
    if not seen:
        return figure._replace(seen=0, box=None)
    left, top, wide, tall = cv2.boundingRect(mask)
    box = (x1 + left, y1 + top, x1 + left + wide, y1 + top + tall)
    return figure._replace(seen=seen, box=box)


def near_props(world: World, camera: Camera) -> list[tuple[float, int]]:
    """Return depth and number of the things before the camera."""
    places = world.props.places
    points = np.column_stack([places[:, 0], 0 * places[:, 0], places[:, 1]])
    seen = camera.to_camera(points + np.array([0.0, 0.8, 0.0]))
    wide = np.abs(seen[:, 0]) < 1.1 * seen[:, 2] + 6.0
    chosen = np.flatnonzero((seen[:, 2] > 2.0) & (seen[:, 2] < _PROP_SIGHT_M) & wide)
    return [(float(seen[item, 2]), item) for item in chosen.tolist()]


def paint_walls(image: Image | None, ids: Ids, world: World, camera: Camera, light: Light) -> None:
    """Draw the walls along the road, open where a street crosses."""
    cuts = world.cross_m
    far, near = camera.z + 100.0, camera.z - 4.0
    spans = [(near, far)] if cuts is None else [(max(near, cuts[1]), far), (near, cuts[0])]
    for x, kind in world.walls:
        for span in spans:
            if span[1] > span[0]:
                paint_wall(image, ids, camera, x, kind, world.variant, span, light)


def paint_backdrop(
    image: Image, world: World, camera: Camera, light: Light, poses: list[Pose]
) -> None:
    """Draw sky and ground, with the shadows of road users and of things."""
    paint_sky(image, camera, world.variant, light)
    paint_ground(image, camera, world.ground, world.variant, light)
    if world.cross_m is not None:
        tone = light.ambient + light.direct * float(light.sun[1])
        low, high = world.cross_m
        ground_patch(image, camera, (-60, low + 1, 60, high - 1), np.full(3, 96.0) * tone)
        for x in np.arange(-7.6, 4.0, 1.0).tolist():
            stripe = (x, low - 4.2, x + 0.5, low - 1.4)
            ground_patch(image, camera, stripe, np.array((222.0, 222, 214)) * tone)
    slide = -light.sun[[0, 2]] / max(float(light.sun[1]), 0.2)
    cast = [shadow for pose in poses for shadow in pose_shadow(pose, slide)]
    for _, item in near_props(world, camera):
        cast += prop_shadow(world.props.kinds[item], world.props.places[item], slide)
    paint_shadows(image, camera, cast, [footprint(pose, 1.04) for pose in poses], light)


def pose_shadow(pose: Pose, slide: Floats) -> list[Floats]:
    """Return outlines of a road user's shadow on the ground."""
    base = footprint(pose)
    if pose.kind in _PEOPLE:
        return [np.concatenate([base, base + pose.body[0] * np.array(
            [slide[0], 0.0, slide[1]])])]  # fmt: skip
    middle = base.mean(axis=0)
    tops = [(0.55, 1.0), (1.0, 0.62)] if pose.kind == "Car" else [(1.0, 0.98)]
    made: list[Floats] = []
    for up, size in tops:
        shift = pose.body[0] * up * np.array([slide[0], 0.0, slide[1]])
        made.append(np.concatenate([base, middle + (base - middle) * size + shift]))
    return made


def finish(  # noqa: PLR0913, PLR0917 - what a camera adds to a picture
    image: Image, ids: Ids, light: Light, glows: list[tuple[int, Floats]], seed: tuple[int, ...],
    noise: float, blur: float,
) -> Image:  # fmt: skip
    """Return the image as the camera records it: graded, with lamps lit, blurred, with noise."""
    steps = np.arange(256, dtype=np.float64)[None, :, None] * np.array(light.grade)
    graded = cv2.LUT(image, np.clip(steps, 0, 255).astype(np.uint8)).astype(np.uint8, copy=False)
    for item, lamps in glows:
        for lamp in lamps:
            _glow(graded, ids, item + 1, lamp)
    soft = cv2.GaussianBlur(graded, (3, 3), blur)
    rng = np.random.default_rng([*seed, 43])
    field, (rows, cols) = sensor_noise(0), image.shape[:2]
    top, left = (int(rng.integers(0, most)) for most in (len(field) - rows, field.shape[1] - cols))
    grainy = field[top : top + rows, left : left + cols]
    made = cv2.addWeighted(soft, 1.0, grainy, noise / 16, 0.0, dtype=cv2.CV_8U)
    return made.astype(np.uint8, copy=False)


def _glow(image: Image, ids: Ids, number: int, lamp: Floats) -> None:
    """Add a lamp's light where the lamp itself can be seen."""
    x, y, radius, white, strength = lamp.tolist()
    col, row, size = round(x), round(y), max(2, min(90, math.ceil(radius * 1.6)))
    if not (0 <= row < ids.shape[0] and 0 <= col < ids.shape[1] and ids[row, col] == number):
        return
    y1, y2 = max(0, row - size), min(ids.shape[0], row + size + 1)
    x1, x2 = max(0, col - size), min(ids.shape[1], col + size + 1)
    down, across = np.mgrid[y1 - row : y2 - row, x1 - col : x2 - col] / size
    fall = np.clip(1 - np.hypot(down, across), 0, 1)[..., None] ** 2.2
    colour = np.array((255.0, 244, 214)) if white else np.array((220.0, 30, 20))
    part = image[y1:y2, x1:x2]
    part[:] = np.clip(part + fall * colour * strength, 0, 255).astype(np.uint8)
