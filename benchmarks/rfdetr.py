"""Time whole frames of RF-DETR: transformers' own forward, our dense, and MaskVD's masked frames.

All have the same random weights (seed 0) and see the same images of noise. Rounds go through all in
turn in one process, every sample is kept, and dense is checked against the library's boxes. A
masked frame keeps a rectangle of a fifth of the tokens; a frame of period 16 is the mean of 15 of
those and one full frame.

    python benchmarks/rfdetr.py --json benchmarks/rfdetr.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from result_file import write_result
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.archs import ARCHS
from maskvd_cli.families.rfdetr.detector import RFDETR
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.published import REPOSITORIES
from maskvd_cli.families.rfdetr.renaming import to_our_names
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.methods.masked_execution import MaskedExecution

PERIOD, KEPT_SHARE = 16, 0.2
Frame = Callable[[Tensor], Any]


def rectangle(grid: Size) -> Tensor:
    """Return a mask of about KEPT_SHARE of the tokens in the middle of the grid, (N,) bool."""
    kept = torch.zeros(*grid, dtype=torch.bool)
    rows = round(grid.rows * KEPT_SHARE**0.5)
    cols = round(KEPT_SHARE * grid.area / rows)
    top, left = (grid.rows - rows) // 2, (grid.cols - cols) // 2
    kept[top : top + rows, left : left + cols] = True
    return kept.flatten()


def contestants(name: str, classes: int, device: str) -> tuple[RFDETR, dict[str, Frame]]:
    """Return our model and what is timed on an image (3, rows, cols) uint8."""
    arch = ARCHS[name]
    shape = QueryShape(classes)
    torch.manual_seed(0)
    library = whole_detector(arch, shape, groups=1).eval().to(device)
    side = arch.patch * arch.position_table.rows
    ours = RFDETR(arch, shape, Size(side, side)).eval().to(device)
    load_into(ours, to_our_names(library.state_dict(), arch), Path("library"))
    execution = MaskedExecution(ours.backbone, "C")
    full, kept = torch.ones(ours.grid.area, dtype=torch.bool), rectangle(ours.grid)

    def theirs(image: Tensor) -> Any:
        found = library(to_input([image], ours.input_size, torch.device(device)))
        return ours.queries.detections(found.logits, found.pred_boxes, ours.input_size)

    def masked(image: Tensor, mask: Tensor) -> Any:
        return ours.finish(execution.run(ours.embed([image]), ours.grid, mask)[0])

    return ours, {
        "transformers": theirs,
        "dense": lambda image: ours([image]),
        "full frame of maskvd": lambda image: masked(image, full),
        "masked frame of maskvd": lambda image: masked(image, kept),
    }


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started), result


@torch.inference_mode()
def measure(name: str, rounds: int, device: str) -> dict[str, list[float]]:
    model, frames = contestants(name, 90, device)
    generator = torch.Generator().manual_seed(0)
    samples: dict[str, list[float]] = {word: [] for word in frames}
    for index in range(rounds + 1):
        image = torch.randint(
            0, 256, (3, *model.input_size), dtype=torch.uint8, generator=generator
        )
        found: dict[str, Any] = {}
        for word, frame in frames.items():
            spent, found[word] = timed(lambda f=frame, i=image: f(i), device)
            # The first round warms up.
            if index:
                samples[word].append(spent)
        gap = (found["transformers"][0].scores - found["dense"][0].scores).abs().max()
        if gap > 1e-3:
            raise SystemExit(f"{name}: dense is {gap:.2g} away from transformers")
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--models", nargs="*", default=list(REPOSITORIES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for name in options.models:
        samples = measure(name, options.rounds, options.device)
        medians = {word: statistics.median(values) for word, values in samples.items()}
        masked, full = medians["masked frame of maskvd"], medians["full frame of maskvd"]
        medians[f"frame of period {PERIOD}"] = (full + (PERIOD - 1) * masked) / PERIOD
        print(name)
        for word, spent in medians.items():
            print(f"{spent:9.1f} ms  {medians['dense'] / spent:5.2f} x dense  {word}")
        result[name] = {"median_ms": medians, "samples_ms": samples}
    if options.json:
        content = {"device": options.device, "threads": torch.get_num_threads(), "models": result}
        write_result(options.json, "python benchmarks/rfdetr.py", content)


if __name__ == "__main__":
    main()
