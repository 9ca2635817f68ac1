"""Time one backbone frame of every method, and MaskVD also in the order of its authors' code.

ViTDet-B at full size with random weights (seed 0) on noise; masks are rectangles of whole tokens.
Frames after the first of a clip are timed: rounds go through all methods in turn, every sample is
kept. `maskvd, published order` computes the attention of all tokens and throws most of it away,
as MaskVD's released code does; its output is checked against ours.

    python benchmarks/backbone.py --json benchmarks/backbone.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from result_file import write_result
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import FrameContext, Method
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.registry import methods

INPUT, CONTENT = Size(672, 672), Size(370, 672)
GRID = INPUT.tiles(16)
Frame = Callable[[Tensor, int], Tensor]


def backbone(name: str, device: str) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(get_arch(name)).eval().to(device)


def rectangle(rows: int, cols: int) -> Tensor:
    """Return a mask of rows x cols tokens from row 8, column 6 on, (N,) bool."""
    kept = torch.zeros(*GRID, dtype=torch.bool)
    kept[8 : 8 + rows, 6 : 6 + cols] = True
    return kept.flatten()


def of_method(name: str, params: dict[str, Any], weights: VisionTransformer) -> Frame:
    kind = methods.load(name)
    method: Method[Any] = kind(kind.params_type.model_validate(params), weights)
    context = FrameContext(0, INPUT, CONTENT, patch=16)
    return lambda tokens, index: method.step(tokens, replace(context, index=index))


def masked(version: Any, kept: Tensor, weights: VisionTransformer) -> Frame:
    execution = MaskedExecution(weights, version)
    full = torch.ones(GRID.area, dtype=torch.bool)
    return lambda tokens, index: execution.run(tokens, GRID, kept if index else full)[0]


def published_order(kept: Tensor, weights: VisionTransformer) -> Frame:
    """MaskVD's version C as published: attention of all tokens, of which the kept ones go on."""
    caches: list[Tensor] = []
    last: list[Tensor] = []

    def run(tokens: Tensor, index: int) -> Tensor:
        sequence = tokens + weights.positions_on(GRID)
        if index == 0:
            caches.clear()
            for block in weights.blocks:
                caches.append(block.qkv(block.norm1(sequence)))
                sequence = sequence + block.projection(block.attend(caches[-1], GRID))
                sequence = sequence + block.mlp(block.norm2(sequence))
            last[:] = [sequence]
            return sequence
        at = kept.nonzero().squeeze(1).to(tokens.device)
        sequence = sequence[:, at]
        for block, cache in zip(weights.blocks, caches, strict=True):
            cache.index_copy_(1, at, block.qkv(block.norm1(sequence)))
            sequence = sequence + block.projection(block.attend(cache, GRID)[:, at])
            sequence = sequence + block.mlp(block.norm2(sequence))
        last[0] = last[0].index_copy(1, at, sequence)
        return last[0]

    return run


def contestants(device: str) -> dict[str, Frame]:
    windowed, plain = backbone("vitdet-b", device), backbone("vitdet-b-global", device)
    few, many = rectangle(12, 30), rectangle(16, 36)
    return {
        "dense": of_method("dense", {}, windowed),
        "dense-unpadded": of_method("dense-unpadded", {}, windowed),
        "maskvd, published order, 360 tokens": published_order(few, windowed),
        "maskvd C, 360 tokens": masked("C", few, windowed),
        "maskvd T, 360 tokens": masked("T", few, windowed),
        "maskvd H, 360 tokens": masked("H", few, windowed),
        "maskvd, published order, 576 tokens": published_order(many, windowed),
        "maskvd C, 576 tokens": masked("C", many, windowed),
        "eventful, r 256": of_method("eventful", {"r": 256}, windowed),
        "eventful tokenwise, r 256": of_method(
            "eventful", {"r": 256, "update": "tokenwise"}, windowed
        ),
        "stgt, r 256": of_method("stgt", {"r": 256}, windowed),
        "dense, non-windowed": of_method("dense", {}, plain),
        "evit, keep rate 0.7": of_method("evit", {}, plain),
        "maskvd non-windowed, 360 tokens": masked(None, few, plain),
    }


def timed(work: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - started), result


@torch.inference_mode()
def measure(frames: dict[str, Frame], rounds: int, device: str) -> dict[str, list[float]]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, GRID.area, 768, generator=generator).to(device)
    for frame in frames.values():
        frame(noise, 0)
    samples: dict[str, list[float]] = {name: [] for name in frames}
    for index in range(1, rounds + 2):
        change = torch.randn(noise.shape, generator=generator).to(device)
        tokens = noise + 0.1 * change
        results: dict[str, Tensor] = {}
        for name, frame in frames.items():
            spent, results[name] = timed(lambda f=frame, t=tokens, i=index: f(t, i), device)
            # The first round warms up.
            if index > 1:
                samples[name].append(spent)
        check(results)
    return samples


def check(results: dict[str, Tensor]) -> None:
    for tokens in (360, 576):
        ours = results[f"maskvd C, {tokens} tokens"]
        theirs = results[f"maskvd, published order, {tokens} tokens"]
        if not torch.allclose(ours, theirs, atol=1e-3):
            raise SystemExit(f"the two orders of MaskVD disagree at {tokens} tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    samples = measure(contestants(options.device), options.rounds, options.device)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    for name, spent in medians.items():
        print(f"{spent:9.1f} ms  {name}")
    if options.json:
        result = {"device": options.device, "threads": torch.get_num_threads(),
                  "input": str(INPUT), "median_ms": medians, "samples_ms": samples}  # fmt: skip
        write_result(options.json, "python benchmarks/backbone.py", result)


if __name__ == "__main__":
    main()
