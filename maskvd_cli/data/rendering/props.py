"""Things that stand beside the road and are no road users: trees, lamp posts, signs, bins."""

from __future__ import annotations

import math

import cv2
import numpy as np

from maskvd_cli.data.rendering.camera import Camera, Floats
from maskvd_cli.data.rendering.light import Colour, Light
from maskvd_cli.data.rendering.sketch import Ids, Image, Sketch, paint
from maskvd_cli.data.rendering.textures import VARIANTS, tree

_TREE_ROWS, _TREE_COLS = 320, 256
_STEEL: Colour = (122, 126, 128)
_SIGNS: tuple[Colour, ...] = ((190, 30, 34), (36, 84, 170), (230, 190, 40), (235, 235, 230))
_ROUND = np.linspace(0, 2 * math.pi, 13)[:-1]


def draw_prop(  # noqa: PLR0913, PLR0917 - what, where and how high, who looks, in which light, on what
    kind: str, look: int, place: Floats, camera: Camera, light: Light, depth_m: float,
    image: Image | None, ids: Ids,
) -> None:  # fmt: skip
    """Draw a thing at (x, z, height); it hides what was drawn before it."""
    x, z, height = place.tolist()
    pixels, _ = camera.project(np.array([(x, 0.0, z), (x, height, z)]))
    foot, scale = pixels[0], camera.focal_px / depth_m
    if kind == "tree":
        _paint_tree(look, foot, height * scale, light, depth_m, image, ids)
        return
    upright = {"lamp": _lamp, "sign": _sign, "bin": _bin}[kind](look, height)
    parts = [part * (scale, -scale) + foot for part, _ in upright]
    colours = np.array([colour for _, colour in upright])
    tone = light.ambient + 0.3 * light.direct
    ends = np.cumsum([len(part) for part in parts])
    fine = np.zeros(len(parts), dtype=np.bool_)
    sketch = Sketch(np.concatenate(parts), ends, light.veiled(colours * tone, depth_m), fine)
    paint(sketch, image, ids, 0)


_Part = tuple[Floats, Colour]


def _rect(left: float, low: float, right: float, high: float) -> Floats:
    return np.array([(left, low), (right, low), (right, high), (left, high)])


def _disc(middle: tuple[float, float], radius: float) -> Floats:
    return np.array(middle) + radius * np.column_stack([np.cos(_ROUND), np.sin(_ROUND)])


def _lamp(look: int, height: float) -> list[_Part]:
    arm = 1.2 if look % 2 else -1.2
    return [
        (_rect(-0.07, 0.0, 0.07, height), _STEEL),
        (_rect(-0.07, 0.0, 0.0, height), (150, 154, 156)),
        (_rect(min(0.0, arm), height - 0.08, max(0.0, arm), height), _STEEL),
        (_rect(arm - 0.3, height - 0.16, arm + 0.3, height - 0.02), (196, 198, 190)),
    ]


def _sign(look: int, height: float) -> list[_Part]:
    colour, plate = _SIGNS[look % len(_SIGNS)], height - 0.33
    post = (_rect(-0.035, 0.0, 0.035, height - 0.1), _STEEL)
    if look % 3 == 0:
        outer = np.array([(-0.4, plate - 0.28), (0.4, plate - 0.28), (0.0, plate + 0.4)])
        inner = np.array([(-0.26, plate - 0.2), (0.26, plate - 0.2), (0.0, plate + 0.24)])
        return [post, (outer, _SIGNS[0]), (inner, _SIGNS[3])]
    if look % 3 == 1:
        return [post, (_disc((0, plate), 0.33), colour), (_disc((0, plate), 0.23), _SIGNS[3]),
                (_rect(-0.14, plate - 0.04, 0.14, plate + 0.04), (40, 40, 44))]  # fmt: skip
    return [post, (_rect(-0.32, plate - 0.32, 0.32, plate + 0.32), colour),
            (_rect(-0.2, plate - 0.1, 0.2, plate + 0.1), _SIGNS[3])]  # fmt: skip


def _bin(look: int, height: float) -> list[_Part]:
    colour = ((58, 86, 60), (70, 74, 80), (120, 84, 40))[look % 3]
    light = (colour[0] * 1.25, colour[1] * 1.25, colour[2] * 1.25)
    return [
        (_rect(-0.3, 0.0, 0.3, height - 0.12), colour),
        (_rect(-0.24, 0.05, -0.02, height - 0.12), light),
        (_rect(-0.34, height - 0.14, 0.34, height), (44, 46, 50)),
    ]


def _paint_tree(  # noqa: PLR0913, PLR0917 - which tree, where and how high, in which light, on what
    look: int, foot: Floats, rows: float, light: Light, depth_m: float, image: Image | None,
    ids: Ids,
) -> None:  # fmt: skip
    scale = rows / _TREE_ROWS
    left, top = foot[0] - scale * _TREE_COLS / 2, foot[1] - rows
    x1, y1 = max(0, math.floor(left)), max(0, math.floor(top))
    x2 = min(ids.shape[1], math.ceil(left + scale * _TREE_COLS))
    y2 = min(ids.shape[0], math.ceil(foot[1]))
    if x2 <= x1 or y2 <= y1:
        return
    place = np.array([[scale, 0.0, left - x1], [0.0, scale, top - y1]])
    picture, size = tree(look % (2 * VARIANTS)), (x2 - x1, y2 - y1)
    inside = cv2.warpAffine(_cover(look), place, size, flags=cv2.INTER_NEAREST)
    ids[y1:y2, x1:x2][inside > 0] = 0
    if image is None:
        return
    flags = cv2.INTER_LINEAR if scale > 0.4 else cv2.INTER_NEAREST
    drawn = cv2.cvtColor(cv2.warpAffine(picture, place, size, flags=flags), cv2.COLOR_RGBA2RGB)
    share = math.exp(-depth_m / light.haze_m)
    tone = (light.ambient + 0.35 * light.direct) * share
    haze = [channel * (1 - share) for channel in light.haze]
    shaded = cv2.add(cv2.convertScaleAbs(drawn, alpha=tone), np.array([*haze, 0.0]))
    cv2.copyTo(shaded, inside, image[y1:y2, x1:x2])


def _cover(look: int) -> Image:
    return np.ascontiguousarray(tree(look % (2 * VARIANTS))[..., 3])


def prop_shadow(kind: str, place: Floats, slide: Floats) -> list[Floats]:
    """Return the outlines (n, 3) of the shadow on the ground; `slide` is its (x, z) a metre up."""
    x, z, height = place.tolist()
    wide = {"tree": 0.14, "lamp": 0.07, "sign": 0.05, "bin": 0.3}[kind]
    tip = np.array([x, z]) + slide * height * (0.6 if kind == "tree" else 1.0)
    side = wide * np.array([-slide[1], slide[0]]) / max(float(np.linalg.norm(slide)), 1e-6)
    ends = [np.array([x, z]) - side, np.array([x, z]) + side, tip + side, tip - side]
    made = [np.array([(end[0], 0.0, end[1]) for end in ends])]
    if kind == "tree":
        middle = np.array([x, z]) + slide * height * 0.68
        round_ = np.column_stack([np.cos(_ROUND), 0 * _ROUND, np.sin(_ROUND)]) * 0.27 * height
        made.append(round_ + np.array([middle[0], 0.0, middle[1]]))
    return made
