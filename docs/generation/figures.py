"""Which tokens each method recomputes, drawn for one small scene by the methods' own code.

The scene: a car that drives to the right and a pedestrian who stands, on 10 x 14 tokens whose
lowest three rows are padding.
"""

from __future__ import annotations

from typing import Any

import torch

from generation.svg import Panel, drawing
from maskvd_cli.core.size import Size
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.association import best_share, similarity, smoothed
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.dropping import stages_of
from maskvd_cli.methods.gates import GateParams, TokenGate
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.tracking import best, tracked

PATCH, FRAMES, KEPT = 16, 6, 30
GRID, REAL = Size(10, 14), Size(7, 14)
ARCH = get_arch("vitdet-ti")
CAR = [(1 + 1.5 * t, 3.2, 4.4 + 1.5 * t, 5.8) for t in range(FRAMES)]
PEDESTRIAN = (11.3, 2.2, 12.7, 5.4)
Legend = list[tuple[str, str]]
_LEFT_OUT = ("kept", "taken from earlier frames")
_BOXES = ("#111111", "outlined: annotated boxes")
_BOXES_BEFORE = ("#111111", "outlined: annotated boxes; dashed: those of the frame before")


def figures() -> dict[str, str]:
    """Return the figure of every registered method by file name."""
    drawn = {
        "dense": _dense(),
        "dense-unpadded": _unpadded(),
        "maskvd": _maskvd(),
        "oracle": _masked("oracle", {"period": 4}, "dynamic", "under the frame's own boxes"),
        "random": _masked("random", {"period": 4, "keep_rate": 0.3}, "chosen", "drawn at random"),
        "eventful": _gate("eventful", forgets=False),
        "stgt": _gate("stgt", forgets=True),
        "rgtp": _rgtp(),
        "boxes-k": _masked(
            "boxes-k",
            {"period": 4, "k": KEPT},
            "dynamic",
            f"{KEPT} tokens in and around the boxes before",
            before=True,
        ),
        "evit": _evit(),
        "maskvd-evit": _maskvd_evit(),
        "svit": _svit(),
        "vpp": _vpp(),
    }
    return {f"{name}.svg": text for name, text in drawn.items()}


def _boxes(frame: int) -> list[tuple[float, float, float, float]]:
    return [CAR[frame], PEDESTRIAN]


def _scores() -> torch.Tensor:
    """Region scores of a street: most objects stand along a band, and left of its middle."""
    rows = torch.arange(GRID.rows, dtype=torch.float64)[:, None]
    cols = torch.arange(GRID.cols, dtype=torch.float64)[None]
    return (100 - 9 * (rows - 4.1) ** 2 - 1.07 * (cols - 6.3) ** 2).clamp(min=0).flatten()


def _view() -> ClipView:
    size = Size(GRID.rows * PATCH, GRID.cols * PATCH)
    content = Size(REAL.rows * PATCH, REAL.cols * PATCH)
    boxes = [torch.tensor(_boxes(frame), dtype=torch.float64) * PATCH for frame in range(FRAMES)]
    frame_of = torch.arange(FRAMES).repeat_interleave(2)
    return ClipView(
        FRAMES, size, PATCH, torch.cat(boxes), frame_of, _scores(),
        real_tokens(content, size, PATCH),
    )  # fmt: skip


def _kept(method: str, params: dict[str, Any]) -> torch.Tensor:
    """Return the tokens that a method recomputes, (frames, N) bool, as a sweep plans it."""
    kind = methods.load(method)
    resolved = kind.resolve(kind.params_type.model_validate(params), ARCH)
    kept = kind.plan(resolved, ARCH, _view()).kept
    assert kept is not None
    return kept


def _title(place: str, count: int) -> str:
    return f"{place}: {count} of {GRID.area}"


def _panels(cells: list[list[str]], *, before: bool = False) -> list[Panel]:
    panels: list[Panel] = []
    for frame, names in enumerate(cells):
        count = sum(name not in ("kept", "zero") for name in names)
        boxes = [(box, False) for box in _boxes(frame)]
        if before and frame and count < GRID.area:
            boxes = [(box, True) for box in _boxes(frame - 1)]
        panels.append(Panel(_title(f"frame {frame}", count), names, boxes))
    return panels


def _draw(about: str, panels: list[Panel], legend: Legend, across: int = 3) -> str:
    return drawing(about, GRID, panels, legend, across)


def _dense() -> str:
    cells = [["full" if on else "kept" for on in row] for row in _kept("dense", {})[:3].tolist()]
    return _draw("Dense computes every token of every frame", _panels(cells),
                 [("full", "computed"), _BOXES])  # fmt: skip


def _unpadded() -> str:
    kept = _kept("dense-unpadded", {})[:3].tolist()
    cells = [["full" if on else "zero" for on in row] for row in kept]
    legend = [("full", "computed"), ("zero", "padding: left out, its features are zero"), _BOXES]
    return _draw("Dense without padding computes the tokens that see a pixel", _panels(cells),
                 legend)  # fmt: skip


def _masked(
    method: str, params: dict[str, Any], colour: str, meaning: str, *, before: bool = False
) -> str:
    cells = [
        ["full"] * GRID.area if all(row) else [colour if on else "kept" for on in row]
        for row in _kept(method, params).tolist()
    ]
    legend = [("full", "full frame, period 4"), (colour, f"recomputed: {meaning}"), _LEFT_OUT]
    return _draw(f"Tokens that {method} recomputes over six frames", _panels(cells, before=before),
                 [*legend, _BOXES_BEFORE if before else _BOXES])  # fmt: skip


def _maskvd() -> str:
    share = {"period": 4, "static_keep_rate": 0.15}
    both = _kept("maskvd", share)
    static = _kept("maskvd", {**share, "mask": "static"})
    dynamic = _kept("maskvd", {"period": 4, "mask": "dynamic"})
    assert torch.equal(both, static | dynamic)
    named = {(True, True): "both", (True, False): "static", (False, True): "dynamic"}
    cells = [
        ["full"] * GRID.area if all(s) else [
            named.get(pair, "kept") for pair in zip(s, d, strict=True)
        ]
        for s, d in zip(static.tolist(), dynamic.tolist(), strict=True)
    ]  # fmt: skip
    legend = [
        ("full", "full frame, period 4"),
        ("static", "static mask, k_s = 0.15"), ("dynamic", "dynamic mask"), ("both", "in both"),
        _LEFT_OUT, _BOXES_BEFORE,
    ]  # fmt: skip
    return _draw("Tokens that MaskVD recomputes over six frames", _panels(cells, before=True),
                 legend)  # fmt: skip


def _signal(frame: int) -> torch.Tensor:
    """Return one value per token: the sky (two rows) brightens slowly, objects stand out."""
    values = torch.zeros(*GRID, dtype=torch.float64)
    values[:2] = 0.3 * frame
    for number, (x1, y1, x2, y2) in enumerate(_boxes(frame)):
        values[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = 2.0 + number
    return values.reshape(1, GRID.area, 1)


def _gate(method: str, *, forgets: bool) -> str:
    gate = TokenGate(GateParams(policy="threshold", threshold=0.5), forgets=forgets)
    cells: list[list[str]] = []
    for frame in range(FRAMES):
        _, index = gate(_signal(frame), lambda tokens: tokens)
        names = ["full" if index is None else "kept"] * GRID.area
        for token in [] if index is None else index[0].tolist():
            names[token] = "drift" if token < 2 * GRID.cols else "chosen"
        cells.append(names)
    drift = "never, since each step is small" if forgets else "once it has added up"
    legend = [
        ("full", "first frame of the clip"), ("chosen", "through the gate: the car moved"),
        ("drift", f"sky that brightens slowly: {drift}"), ("kept", "the gate's earlier output"),
        _BOXES,
    ]  # fmt: skip
    return _draw(f"Tokens through one gate of {method} over six frames", _panels(cells), legend)


def _distance(token: int, frame: int) -> float:
    """Return the square of how far a token lies from the nearest object of a frame."""
    row, col = token // GRID.cols + 0.5, token % GRID.cols + 0.5
    return min(
        max(x1 - col, 0, col - x2) ** 2 + max(y1 - row, 0, row - y2) ** 2
        for x1, y1, x2, y2 in _boxes(frame)
    )


def _survivors(entering: list[int], count: int, frame: int = 1) -> list[int]:
    """Return the `count` tokens nearest to an object: a stand-in for scores."""
    return sorted(entering, key=lambda token: (_distance(token, frame), token))[:count]


def _patches(frame: int) -> torch.Tensor:
    """Return an embedding for each token; objects take theirs along."""
    drawn = torch.randn(2, GRID.area, 64, generator=torch.Generator().manual_seed(0))
    patches = drawn[0].reshape(*GRID, 64).clone()
    for number, (x1, y1, x2, y2) in enumerate(_boxes(frame)):
        rows, cols = int(y2) + 1 - int(y1), int(x2) + 1 - int(x1)
        part = drawn[1, 50 * number : 50 * number + rows * 4].reshape(rows, 4, 64)
        patches[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = part[:, :cols]
    return patches.flatten(0, 1)


def _rgtp() -> str:
    cells: list[list[str]] = []
    for frame in range(FRAMES):
        names = ["full" if frame % 4 == 0 else "kept"] * GRID.area
        if frame % 4:
            away = [_distance(token, frame - 1) for token in range(GRID.area)]
            importance = 1 / (1 + torch.tensor(away))
            follows = tracked(importance, _patches(frame), _patches(frame - 1), GRID, 2)
            untracked = set(best(importance, KEPT).tolist())
            for token in best(follows, KEPT).tolist():
                names[token] = "chosen" if token in untracked else "drift"
        cells.append(names)
    legend = [
        ("full", "full frame, period 4"),
        ("chosen", f"among the {KEPT} most important tokens; nearness stands for attention"),
        ("drift", "only because importance follows what the car looks like, radius 2"),
        _LEFT_OUT, _BOXES_BEFORE,
    ]  # fmt: skip
    return _draw("Tokens that RGTP recomputes over six frames", _panels(cells, before=True), legend)


def _stages(start: list[int], colour: str, rest: str) -> list[Panel]:
    """Return four panels: the tokens that pass the MLPs of blocks 0-2, 3-5, 6-8 and 9-11."""
    rates = [0.6 if block in (3, 6, 9) else 1.0 for block in range(12)]
    stages = stages_of(len(start), rates)
    alive, panels = start, list[Panel]()
    for first in (0, 3, 6, 9):
        alive = _survivors(alive, stages[first].leaving)
        inside = set(alive)
        names = [colour if token in inside else rest for token in range(GRID.area)]
        boxes = [(box, False) for box in _boxes(1)]
        panels.append(Panel(_title(f"blocks {first}-{first + 2}", len(alive)), names, boxes))
    return panels


def _evit() -> str:
    legend = [
        ("full", "on its way, keep_rate 0.6"),
        ("zero", "dropped: its features are zero"),
        ("#111111", "objects; nearness to them stands for attention"),
    ]
    panels = _stages(list(range(GRID.area)), "full", "zero")
    return _draw("Tokens of one frame that EViT keeps, block by block", panels, legend, across=2)


def _maskvd_evit() -> str:
    kept = _kept("maskvd", {"period": 4, "static_keep_rate": 0.15})[1]
    legend = [
        ("dynamic", "of the mask, on its way, keep_rate 0.6"),
        ("kept", "not in the mask, or dropped: from earlier frames"),
        ("#111111", "objects; nearness to them stands for attention"),
    ]
    panels = _stages(kept.nonzero().flatten().tolist(), "dynamic", "kept")
    about = "Tokens of a masked frame that MaskVD with EViT keeps, block by block"
    return _draw(about, panels, legend, across=2)


def _blocks_panel(place: str, alive: list[int], colour: str, frame: int) -> Panel:
    inside = set(alive)
    names = [colour if token in inside else "kept" for token in range(GRID.area)]
    return Panel(_title(place, len(alive)), names, [(box, False) for box in _boxes(frame)])


def _svit() -> str:
    everything = list(range(GRID.area))
    panels = [_blocks_panel("blocks 0-2", everything, "full", 1)]
    for first, target in ((3, 0.7), (6, 0.49), (9, 0.343)):
        chosen = _survivors(everything, round(target * GRID.area))
        panels.append(_blocks_panel(f"blocks {first}-{first + 2}", chosen, "chosen", 1))
    legend = [
        ("full", "computed: these blocks have no selector"),
        ("chosen", "computed: as many as selectors are trained to keep"),
        ("kept", "skipped: stays as the block before left it, and may come back"),
        ("#111111", "objects; nearness to them stands for the scores of selectors"),
    ]
    about = "Tokens of one frame that SViT's blocks compute"
    return _draw(about, panels, legend, across=2)


def _vpp() -> str:
    everything = list(range(GRID.area))
    panels = [_blocks_panel("frame 0, blocks 0-2", everything, "full", 0)]
    before = _survivors(everything, int(0.56 * GRID.area), 0)
    panels.append(_blocks_panel("frame 0, blocks 3-5", before, "chosen", 0))
    panels.append(_blocks_panel("frame 1, block 0", everything, "full", 1))
    mapped = _mapped_tokens(before)
    panels.append(_blocks_panel("frame 1, blocks 1-2", mapped, "dynamic", 1))
    for first, target in ((3, 0.56), (6, 0.448)):
        mapped = _survivors(mapped, int(target * GRID.area))
        panels.append(_blocks_panel(f"frame 1, blocks {first}-{first + 2}", mapped, "chosen", 1))
    legend = [
        ("full", "computed: nothing is known yet"),
        ("dynamic", "computed: worth it in the frame before, and found again here, keep_rate 0.7"),
        ("chosen", "computed: what a selector leaves of these"),
        ("kept", "skipped for the rest of the frame"),
        ("#111111", "objects; nearness to them stands for the scores of selectors"),
    ]
    about = "Tokens that VPP's blocks compute on a clip's first two frames"
    return _draw(about, panels, legend)


def _mapped_tokens(active: list[int]) -> list[int]:
    """Return what VPP's own association finds again of a frame in which `active` were computed.

    Tokens are alike where they lie under the same object, or under none.
    """
    tokens = [_kinds(frame) for frame in (0, 1)]
    computed = torch.zeros(GRID.area, dtype=torch.bool)
    computed[active] = True
    source = similarity(tokens[1], tokens[0], GRID, computed).argmax(1)
    worth = 1.0 - tokens[0][source, 0] / _ALIKE
    scores = torch.stack([worth, -worth], dim=1).log_softmax(-1)
    return best_share(smoothed(scores, GRID)[:, 0], 0.7).nonzero().squeeze(1).tolist()


_ALIKE = 4.0


def _kinds(frame: int) -> torch.Tensor:
    """Return tokens (N, 3): under no object, under the car, under the pedestrian."""
    kinds = torch.zeros(*GRID, dtype=torch.int64)
    for number, (x1, y1, x2, y2) in enumerate(_boxes(frame)):
        kinds[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = 1 + number
    return _ALIKE * torch.nn.functional.one_hot(kinds.flatten(), 3).float()
