"""Sky, ground, shadows and walls of a frame: everything behind the figures."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from maskvd_cli.data.rendering.camera import Camera, Floats
from maskvd_cli.data.rendering.light import Colour, Light
from maskvd_cli.data.rendering.sketch import Ids, Image
from maskvd_cli.data.rendering.textures import (
    FAR_TEXELS,
    GROUND_HALF_M,
    GROUND_PERIOD_M,
    NEAR_TEXELS,
    WALL_HEIGHT_M,
    WALL_PERIOD_M,
    WALL_TEXELS,
    Ground,
    Wall,
    ground,
    skyline,
    wall,
)

_FINE_M, _WINDOW_M, _FAR_GROUND_M, _NEAR_WALL_M, _FAR_WALL_M = 11.0, 44.0, 140.0, 24.0, 100.0
_HORIZON_ROW, _LEAST_DEPTH_M = 360, 0.6


@lru_cache(maxsize=128)
def _sky(variant: int, zenith: Colour, haze: Colour) -> Image:
    """Return the sky all around (400, 2600, 3), the horizon in row 360."""
    cover, hill = cv2.split(skyline(variant))
    height = np.clip(1 - np.arange(400)[:, None] / _HORIZON_ROW, 0, 1)[..., None] ** 0.6
    clear = np.array(haze) * (1 - height) + np.array(zenith) * height
    white = 0.35 * np.array(haze) + 0.65 * 236.0
    made = clear * (1 - cover[..., None]) + white * cover[..., None]
    far = 0.6 * np.array(haze) + 0.4 * np.array((78, 98, 84))
    made = np.where(hill[..., None] > 0.5, far, made)
    return np.clip(made, 0, 255).astype(np.uint8)


def paint_sky(image: Image, camera: Camera, variant: int, light: Light) -> None:
    """Fill the whole image with the sky; it turns with the camera."""
    sky = _sky(variant, light.zenith, light.haze)
    rows, cols = image.shape[:2]
    first = _HORIZON_ROW - round(camera.horizon_row)
    left = round(camera.focal_px * camera.yaw) % sky.shape[1]
    source = np.clip(np.arange(first, first + rows), 0, len(sky) - 1)
    part = sky[source[0] : source[-1] + 1]
    pad_top, pad_low = int((source == 0).sum()) - 1, int((source == len(sky) - 1).sum()) - 1
    split = min(cols, sky.shape[1] - left)
    top = max(pad_top, 0)
    bottom = rows - max(pad_low, 0)
    image[:top] = sky[0, 0]
    image[top:bottom, :split] = part[: bottom - top, left : left + split]
    if split < cols:
        image[top:bottom, split:] = part[: bottom - top, : cols - split]


@lru_cache(maxsize=32)
def _long_ground(kind: Ground, variant: int) -> tuple[Image, Image]:
    """Return the near and far ground repeated, so that any window is one slice."""
    near, far = ground(kind, variant)
    return np.concatenate([near, near]), np.concatenate([far] * 4)


def paint_ground(image: Image, camera: Camera, kind: Ground, variant: int, light: Light) -> None:
    """Draw the ground below the horizon, twice: far rows from a coarse texture, near ones fine."""
    start = camera.z - 4.0
    first = max(0, int(np.ceil(camera.horizon_row)) + 1)
    # The higher the camera, the farther fine texture pays.
    fine = min(_FINE_M * camera.height, _WINDOW_M - 10.0)
    reach = camera.project(np.array([[camera.x, 0.0, camera.z + fine]]))[0][0, 1]
    middle = int(np.clip(reach, first, len(image)))
    textures = _long_ground(kind, variant)
    for texture, texels, length, top, bottom in (
        (textures[1], FAR_TEXELS, _FAR_GROUND_M, first, middle),
        (textures[0], NEAR_TEXELS, _WINDOW_M, middle, len(image)),
    ):
        if bottom <= top:
            continue
        skip = round(start % GROUND_PERIOD_M * texels)
        window = texture[skip : skip + round(length * texels)]
        origin = start - start % GROUND_PERIOD_M + skip / texels
        place = np.array([[1 / texels, 0, -GROUND_HALF_M], [0, 1 / texels, origin], [0, 0, 1]])
        up = np.array([[1.0, 0, 0], [0, 1, -top], [0, 0, 1]])
        cv2.warpPerspective(
            window, up @ camera.ground_map() @ place, (image.shape[1], bottom - top),
            dst=image[top:bottom], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    _light_ground(image, camera, first, light)


def _light_ground(image: Image, camera: Camera, first: int, light: Light) -> None:
    """Tone the ground by the light, and veil its far rows."""
    tone = light.ambient + light.direct * float(light.sun[1])
    below = image[first:]
    cv2.convertScaleAbs(below, dst=below, alpha=tone)
    far = min(90, len(below))
    drop = np.arange(1, far + 1) + first - camera.horizon_row
    depth = camera.height * camera.focal_px / np.maximum(drop, 0.5)
    share = np.exp(-depth / light.haze_m)[:, None, None].astype(np.float32)
    haze = np.array(light.haze, dtype=np.float32)
    below[:far] = (below[:far] * share + haze * (1 - share)).astype(np.uint8)


def ground_patch(image: Image, camera: Camera, patch: tuple[float, float, float, float],
                 colour: Floats) -> None:  # fmt: skip
    """Draw a flat rectangle (low x, near z, high x, far z) on the ground."""
    x1, z1, x2, z2 = patch
    z1 = max(z1, camera.z + 1.5)
    if z1 >= z2:
        return
    points = np.array([(x1, 0, z1), (x2, 0, z1), (x2, 0, z2), (x1, 0, z2)])
    pixels, depth = camera.project(points)
    if depth.min() > _LEAST_DEPTH_M:
        corners = np.rint(np.clip(pixels, -30_000, 30_000) * 16).astype(np.int32)
        cv2.fillConvexPoly(image, corners, colour.tolist(), cv2.LINE_AA, 4)


@lru_cache(maxsize=16)
def _long_wall(kind: Wall, variant: int) -> tuple[Image, Image]:
    made = wall(kind, variant)
    small = (made.shape[1] // 3, made.shape[0] // 3)
    coarse = cv2.resize(made, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return np.concatenate([made, made], axis=1), np.concatenate([coarse, coarse], axis=1)


def paint_wall(  # noqa: PLR0913, PLR0917 - the wall, its part, and what it is drawn on
    image: Image | None, ids: Ids, camera: Camera, x: float, kind: Wall, variant: int,
    span: tuple[float, float], light: Light,
) -> None:  # fmt: skip
    """Draw an upright plane at `x` between two z (m); it hides what was drawn before it."""
    depth = camera.wall_map(x)[2]
    nearest = min(depth[1] * WALL_HEIGHT_M, 0.0) + depth[2]
    if depth[0] <= 1e-6:
        return
    begin = max(span[0], (_LEAST_DEPTH_M - nearest) / depth[0])
    split = max(begin, min(camera.z + _NEAR_WALL_M, span[1]))
    textures = _long_wall(kind, variant)
    for texture, texels, low, high in (
        (textures[1], WALL_TEXELS / 3, split, min(span[1], camera.z + _FAR_WALL_M)),
        (textures[0], WALL_TEXELS, begin, split),
    ):
        if high - low < 0.05:
            continue
        corners = np.array([(x, h, z) for z in (low, high) for h in (0.0, WALL_HEIGHT_M)])
        pixels = np.clip(camera.project(corners)[0], -30_000, 30_000)
        hull = np.rint(pixels[[0, 1, 3, 2]] * 16).astype(np.int32)
        cv2.fillConvexPoly(ids, hull, 0, cv2.LINE_8, 4)
        if image is not None:
            _warp_wall(image, camera, x, texture, (texels, low, high), pixels, light)


def _warp_wall(  # noqa: PLR0913, PLR0917 - one part of a wall, where it falls, in which light
    image: Image, camera: Camera, x: float, texture: Image, part: tuple[float, float, float],
    pixels: Floats, light: Light,
) -> None:  # fmt: skip
    texels, low, high = part
    x1, y1 = np.clip(np.floor(pixels.min(axis=0)), 0, image.shape[1::-1]).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, image.shape[1::-1]).astype(int).tolist()
    if x2 <= x1 or y2 <= y1:
        return
    skip = int(low % WALL_PERIOD_M * texels)
    origin = low - low % WALL_PERIOD_M + skip / texels
    window = texture[:, skip : skip + int((high - origin) * texels) + 2]
    place = np.array([[1 / texels, 0, origin], [0, 1 / texels, 0], [0, 0, 1]])
    shift = np.array([[1.0, 0, -x1], [0, 1, -y1], [0, 0, 1]])
    drawn = cv2.warpPerspective(window, shift @ camera.wall_map(x) @ place, (x2 - x1, y2 - y1))
    normal = np.array([[-1.0 if x > camera.x else 1.0, 0.0, 0.0]])
    middle = (low + min(high, low + 40)) / 2 - camera.z
    tone = light.shades(normal)[0]
    share = float(np.exp(-max(middle, 0.0) / light.haze_m))
    mask = cv2.extractChannel(drawn, 3)
    colours = cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB)
    haze = [channel * (1 - share) for channel in light.haze]
    colours = cv2.convertScaleAbs(colours, alpha=tone * share)
    colours = cv2.add(colours, np.array([*haze, 0.0]))
    cv2.copyTo(colours, cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1],
               image[y1:y2, x1:x2])  # fmt: skip


def paint_shadows(image: Image, camera: Camera, cast: list[Floats], feet: list[Floats],
                  light: Light) -> None:  # fmt: skip
    """Darken the ground: `cast` by the sun, `feet` below things; world points (n, 3)."""
    first = max(0, int(camera.horizon_row) + 2)
    half = np.zeros(((len(image) - first + 1) // 2, (image.shape[1] + 1) // 2), dtype=np.uint8)
    sunny = round(255 * 0.85 * light.direct * float(light.sun[1]) ** 0.5
                  / (light.ambient + light.direct * float(light.sun[1])))  # fmt: skip
    for hulls, level in ((cast, sunny), (feet, max(sunny, 120))):
        for points in hulls:
            pixels, depth = camera.project(points)
            if depth.min() < _LEAST_DEPTH_M:
                continue
            corners = np.clip((pixels - (0, first)) / 2, -9000, 9000) * 16
            hull = cv2.convexHull(np.rint(corners).astype(np.int32))
            cv2.fillConvexPoly(half, hull, level, cv2.LINE_AA, 4)
    soft = cv2.resize(cv2.blur(half, (5, 3)), (image.shape[1], 2 * len(half)))
    below = image[first:]
    keep = cv2.cvtColor(cv2.bitwise_not(soft[: len(below)]), cv2.COLOR_GRAY2RGB)
    cv2.multiply(below, keep, dst=below, scale=1 / 255)
