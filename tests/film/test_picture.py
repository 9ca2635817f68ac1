"""What is drawn: dim tokens, red misses, a strip that fits, files that others can read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from maskvd_cli.core.placement import stretch
from maskvd_cli.core.size import Size
from maskvd_cli.film import lettering
from maskvd_cli.film.encode import write_gif, write_mp4
from maskvd_cli.film.kept import Kept
from maskvd_cli.film.lettering import (
    MISSED,
    TRUTH,
    class_colour,
    escaped,
    font,
    lettered,
    missing,
    shortened,
    unwritable,
    wrapped,
)
from maskvd_cli.film.misses import Fate, Labelled
from maskvd_cli.film.picture import Layout, dimmed, draw_picture
from maskvd_cli.film.shots import Cost, Shot
from maskvd_cli.film.strip import Caption, draw_strip, facts, strip_height
from maskvd_cli.methods.base import FrameTrace

NATIVE = Size(96, 320)
# Two thirds of the input's rows are the frame's.
PLACED = stretch(NATIVE, Size(64, 160), Size(96, 160))
CAPTION = Caption("maskvd period=4", "dense", 10, 60, annotated=True)


def shot_of(fate: Fate = Fate.MASKED) -> Shot:
    share = np.zeros((6, 10))
    share[:, :5] = 1
    found = Labelled(np.array([[200.0, 10, 260, 50]]), np.array([1]), np.array([0.75]))
    objects = Labelled.objects(np.array([[20.0, 30, 120, 80]]), np.array([0]))
    trace = FrameTrace(30, False)
    pixels = np.full((*NATIVE, 3), 180, dtype=np.uint8)
    cost = Cost(0.3, 0.5, 1.5)
    kept = Kept(share, "bright: recomputed")
    return Shot(2, pixels, trace, kept, found, objects, [fate], (60, 20, 30), cost, 3, 17)


def pixels_of(picture: Pillow.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(picture) == colour).all(-1)


def test_dropped_tokens_are_dark_and_padding_does_not_show() -> None:
    share = np.zeros((6, 10))
    share[1, 2] = 1
    share[4:] = 1  # padding: below the frame
    shown = dimmed(np.full((96, 320, 3), 200, dtype=np.uint8), share, PLACED, 16)
    bright = (shown == 200).all(-1)
    # Token (1, 2) of 4 x 10 in a frame of 96 x 320.
    assert bright[24:48, 64:96].all()
    assert bright.sum() == 24 * 32
    assert shown[~bright].max() < 120


def test_a_share_in_between_has_a_light_in_between() -> None:
    share = np.zeros((6, 10))
    share[0, 0], share[0, 1] = 1, 0.5
    shown = dimmed(np.full((96, 320, 3), 200, dtype=np.uint8), share, PLACED, 16)
    assert shown[0, 0, 0] > shown[0, 40, 0] > shown[0, 80, 0]


def test_what_masking_misses_is_red_and_nothing_else_is() -> None:
    layout = Layout.of(NATIVE)
    assert (layout.picture, layout.width) == (Size(192, 640), 640)
    red = pixels_of(draw_picture(shot_of(), layout, PLACED, 16, ["car", "bus"]), MISSED)
    rows, cols = np.nonzero(red)
    # The object's outline, twice as large as native; its tag lies above.
    assert (cols.min(), cols.max(), rows.max()) == (40, 240, 160)
    for fate in (Fate.FOUND, Fate.BOTH):
        picture = draw_picture(shot_of(fate), layout, PLACED, 16, ["car", "bus"])
        assert not pixels_of(picture, MISSED).any()
        assert pixels_of(picture, TRUTH).any() == (fate is Fate.FOUND)
        assert pixels_of(picture, class_colour(1)).any()


def test_boxes_outside_the_frame_are_drawn_at_its_border() -> None:
    shot = shot_of()
    wide = replace(shot.objects, xyxy=np.array([[-50.0, -20, 900, 300]]))
    layout = Layout.of(NATIVE)
    red = pixels_of(
        draw_picture(replace(shot, objects=wide), layout, PLACED, 16, ["car", "bus"]), MISSED
    )
    assert red[0].all()
    assert red[-1].all()


@pytest.mark.parametrize(
    ("native", "width", "expected"),
    [
        (Size(375, 1242), None, (Size(376, 1242), 1242)),
        (Size(1080, 1920), None, (Size(720, 1280), 1280)),
        (Size(1920, 1080), 640, (Size(960, 540), 640)),
        (Size(101, 333), 501, (Size(152, 500), 500)),
    ],
)
def test_sizes_are_even_and_fit(
    native: Size, width: int | None, expected: tuple[Size, int]
) -> None:
    layout = Layout.of(native, width)
    assert (layout.picture, layout.width) == expected


def test_the_strip_tells_frame_tokens_cost_and_misses() -> None:
    assert facts(shot_of(), CAPTION) == [
        "frame 3/10  ·  masked  ·  tokens 30 of 60 (50 %)",
        "GMACs 0.30, mean 0.50 of dense's 1.50 (33 %)",
        "missed because of skipping, so far: 3 of 17 objects",
    ]
    assert facts(shot_of(), replace(CAPTION, skips=False))[1:] == ["GMACs 0.30"]
    assert "that dense detects" in facts(shot_of(), replace(CAPTION, annotated=False))[2]


@pytest.mark.parametrize("width", [320, 640, 1280])
def test_the_strip_is_as_wide_as_the_film_and_even(width: int) -> None:
    layout = Layout.of(NATIVE, width)
    long = replace(CAPTION, label="maskvd " * 40, remark="random weights")
    strip = draw_strip(shot_of(), long, layout)
    assert strip.size == (width, strip_height(layout, long))
    assert strip.height % 2 == 0


def test_long_texts_are_cut() -> None:
    face = font(12)
    assert shortened("short", 100, face) == "short"
    cut = shortened("a long label " * 9, 100, face)
    assert cut.endswith("…")
    assert face.getlength(cut) <= 100


def test_colours_of_classes_stay_apart_from_misses_and_objects() -> None:
    colours = [class_colour(number) for number in range(30)]
    assert len(set(colours)) == 30
    for colour in colours:
        for mark in (MISSED, TRUTH):
            assert np.abs(np.subtract(colour, mark)).sum() > 100


def pictures(frames: int) -> list[Pillow.Image]:
    return [Pillow.new("RGB", (64, 48), (8 * n, 255 - 8 * n, 30)) for n in range(frames)]


def test_an_mp4_comes_back_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    write_mp4(path, iter(pictures(20)), 12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12.5
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape == (48, 64, 3)
    np.testing.assert_allclose([f[..., 0].mean() for f in frames], np.arange(20) * 8, atol=8)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_gif_comes_back_and_keeps_the_marks_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    drawn = [Pillow.new("RGB", (64, 48), (60, 70, 80)) for _ in range(20)]
    for number, picture in enumerate(drawn):
        picture.putpixel((5 + number, 5), MISSED)
    write_gif(path, iter(drawn), 10)
    with Pillow.open(path) as film:
        assert (film.format, film.size, getattr(film, "n_frames", 1)) == ("GIF", (64, 48), 20)
        assert film.info["loop"] == 0
        assert film.info["duration"] == 100
        film.seek(19)
        assert film.convert("RGB").getpixel((24, 5)) == MISSED


def large_shot() -> Shot:
    """A shot whose numbers are as long as they get."""
    kept = Kept(np.ones((6, 10)), "bright: recomputed at many of 36 gates")
    cost = Cost(1103.25, 1151.25, 1174.5)
    trace = FrameTrace(1764, False)
    return replace(shot_of(), position=9998, trace=trace, kept=kept, cost=cost, missed=13120,
                   met=24170)  # fmt: skip


@pytest.mark.parametrize("width", [320, 360, 480, 560, 640, 1280])
@pytest.mark.parametrize("annotated", [True, False])
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("remark", ["", "random weights: detections mean nothing"])
def test_nothing_of_a_strip_is_cut_or_lies_over_another_thing(
    width: int, annotated: bool, skips: bool, remark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caption = replace(
        CAPTION, frames=10_000, tokens=1764, annotated=annotated, skips=skips, remark=remark
    )
    layout = Layout.of(NATIVE, width)
    places: list[tuple[float, float, float, float]] = []
    texts: list[str] = []
    plain = ImageDraw.ImageDraw.text

    def noted(self: Any, xy: Any, text: str, **options: Any) -> None:
        left, top, right, bottom = self.textbbox(xy, text, font=options["font"])
        places.append((left, top, right, bottom))
        texts.append(text)
        plain(self, xy, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    strip = draw_strip(large_shot(), caption, layout)
    assert not [text for text in texts if "…" in text]
    for left, top, right, bottom in places:
        assert left >= 0 and top >= 0 and right <= strip.width and bottom <= strip.height
    for number, one in enumerate(places):
        for other in places[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1]
            assert apart or other[3] <= one[1], (texts[number], one, other)
    whole = " ".join(texts)
    for figure in ("9999/10000", "1764 of 1764", "1103.25"):
        assert figure in whole
    assert ("13120 of 24170" in whole) == skips


def test_characters_without_a_glyph_are_spelled_out_or_written_in_another_font() -> None:
    assert missing("car Äжλ") == set()
    assert lettered("car", 12)[0] == "car"
    assert lettered("car", 12)[1].path == font(12).path
    assert escaped("车 car \u884c\u4eba\x1b") == "U+8F66 car U+884C U+4EBA U+001B"
    text, face = lettered("\u884c\u4eba", 12)
    if unwritable(["\u884c\u4eba"]):
        assert (text, face.path) == ("U+884C U+4EBA", font(12).path)
    else:
        assert text == "\u884c\u4eba"
    # No font has a character for private use that none defines.
    assert lettered("\U0010fffd", 12)[0] == "U+10FFFD"
    assert unwritable(["car", "\U0010fffd"]) == ["\U0010fffd"]


def test_a_system_font_that_has_all_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(str(font(12).path))
    monkeypatch.setattr(lettering, "_system_fonts", lambda: (here,))
    monkeypatch.setattr(lettering, "missing", lambda text: {"x"} if "x" in text else set())
    lettering._font_with.cache_clear()
    text, face = lettered("xy", 14)
    lettering._font_with.cache_clear()
    assert text == "xy" and Path(str(face.path)) == here and face.size == 14


def test_words_are_wrapped() -> None:
    face = font(12)
    room = face.getlength("two words")
    assert wrapped("two words", room, face, most=2) == ["two words"]
    assert wrapped("one two words", room, face, most=2) == ["one two", "words"]
    assert wrapped("", room, face, most=2) == []
    cut = wrapped("a verylongwordthatdoesnotfit and many others", room, face, most=2)
    assert len(cut) == 2 and cut[0] == "a" and cut[1].endswith("…")
