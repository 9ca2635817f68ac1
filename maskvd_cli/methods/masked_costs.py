"""What masked execution costs and keeps, in closed form; `masked_execution` tells its versions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.windows import window_places
from maskvd_cli.methods.base import FLOAT32_BYTES, TokenTrace, token_bytes

Version = Literal["C", "T", "H"]


def full_counts(arch: ViTArch, grid: Size) -> dict[str, int]:
    """Return the counts of a full frame: every place of every window asks, padding too.

    Nothing without windows.
    """
    if not arch.windowed_depth:
        return {}
    padded = arch.padded(grid).area
    return {"window_queries": padded + arch.lead, "window_keys": grid.area + arch.lead}


def mask_trace(kept: Tensor, arch: ViTArch, grid: Size) -> TokenTrace:
    """Return the trace of frames that recompute `kept` (frames, N) bool."""
    if arch.windowed_depth:
        per_window = _per_window(kept, grid, arch.window_on(grid))
        tokens = per_window.sum(1)
    else:
        per_window, tokens = None, counts_of(kept, torch.ones(grid.area, 1))[:, 0]
    full = tokens == grid.area
    counts = {} if per_window is None else _window_counts(per_window, full, arch, grid)
    return TokenTrace(
        tokens.to(torch.float64).numpy(),
        full.numpy(),
        {name: count.numpy() for name, count in counts.items()},
        kept,
    )


def counts_of(kept: Tensor, groups: Tensor) -> Tensor:
    """Return how many tokens of `kept` (frames, N) bool lie in each of `groups`, (frames, G) int64.

    `groups` (N, G) holds 1 where a token belongs to a group and 0 else. A product of matrices is
    many times faster than torch's sums of bools, and exact: float32 holds numbers up to 16,777,216.
    """
    return (kept.to(torch.float32) @ groups.to(torch.float32)).to(torch.int64)


def _per_window(kept: Tensor, grid: Size, window: Size) -> Tensor:
    """Return how many tokens are kept in each window, (frames, windows) int64."""
    which = window_places(grid, window)[:, 0]
    return counts_of(kept, torch.nn.functional.one_hot(which))


def _window_counts(
    per_window: Tensor, full: Tensor, arch: ViTArch, grid: Size
) -> dict[str, Tensor]:
    sizes = torch.bincount(window_places(grid, arch.window_on(grid))[:, 0]) + arch.window_lead
    # Class tokens ask in every window of a frame that has a chosen token.
    own = arch.window_lead * (per_window.amax(1, keepdim=True) > 0)
    asking = per_window + own
    active = asking > 0
    queries = active.sum(1) * asking.amax(1)
    whole = full_counts(arch, grid)["window_queries"]
    return {
        "window_queries": queries.where(~full, torch.tensor(whole)),
        "window_keys": (active * sizes).sum(1),
    }


def executed(arch: ViTArch, grid: Size, version: Version | None, trace: TokenTrace) -> Macs:
    """Return the MACs of masked execution, one per frame.

    With n chosen tokens, on windows with class tokens all of these among them. Matrix products that
    are executed: QKV 3nD^2 (T in windowed blocks: nD^2 for queries and 2mD^2 for the m tokens of
    their windows; all N on full frames), projection and MLP on n; windowed attention of q queries,
    2 q w^2 D + 2 q w D, where q counts the places of windows that hold a chosen token, each filled
    up to the fullest one; global attention of n queries, to N keys in version C and to n else. The
    published counter: see `published`.
    """
    counted = published(arch, grid, version, trace.whole_tokens)
    tokens = trace.whole_tokens
    if not arch.windowed_depth:
        # Without a chosen token not even the class token runs.
        return Macs(np.where(tokens > 0, counted.matrix, 0), counted.published)
    # Without a chosen token no class token of a window runs either.
    tokens = np.where(tokens > 0, tokens + arch.lead, 0)
    keys = costs.sequence_length(arch, grid) if version == "C" else tokens
    window = arch.window_on(grid)
    qkv = costs.qkv(arch, tokens).matrix
    qkv_in_windows = qkv
    if version == "T":
        qkv_in_windows = (tokens + 2 * trace.counts["window_keys"]) * arch.dim**2
    matrix = (
        costs.projection_and_mlp(arch, tokens).matrix * arch.depth
        + qkv * len(arch.global_blocks)
        + qkv_in_windows * arch.windowed_depth
        + costs.window_products(arch, trace.counts["window_queries"], window) * arch.windowed_depth
        + costs.global_attention(arch, grid, tokens, keys).matrix * len(arch.global_blocks)
    )
    return Macs(matrix, counted.published)


def published(arch: ViTArch, grid: Size, version: Version | None, tokens: costs.Tokens) -> Macs:
    """Return what the authors' code executes on n kept tokens, or would in versions T and H.

    Linear layers, biases and residuals of every block on n tokens; attention of all windows. C: all
    attention over N queries and keys. T: QKV of windowed blocks on N, global attention among n.
    H: QKV on n, global attention among n. Non-windowed: `costs.plain_vit` on n tokens, in C with
    keys of all N.
    """
    if not arch.windowed_depth:
        return costs.plain_vit(arch, grid, tokens, grid.area if version == "C" else None)
    tokens = tokens + arch.lead
    everywhere = costs.projection_and_mlp(arch, tokens) + costs.residuals(arch, tokens)
    attending = costs.sequence_length(arch, grid) if version == "C" else tokens
    return (
        everywhere * arch.depth
        + costs.qkv(arch, grid.area if version == "T" else tokens) * arch.windowed_depth
        + costs.qkv(arch, tokens) * len(arch.global_blocks)
        + costs.windowed_attention(arch, grid) * arch.windowed_depth
        + costs.global_attention(arch, grid, attending, attending) * len(arch.global_blocks)
        + costs.position_add(arch, grid)
    )


def state_bytes(arch: ViTArch, grid: Size, version: Version | None) -> int:
    """Return the bytes of caches and reference output, with T those of one N x D tensor.

    C 3LT + T, T (windowed blocks)T + T, H 3(windowed blocks)T + T, non-windowed T. Where features
    are read at k depths the output is kT; caches also hold the class tokens of windows. With
    detection tokens, of n in the whole sequence, 3L n D and the output of the detection tokens
    alone.
    """
    if arch.trail:
        rows = 3 * arch.depth * costs.sequence_length(arch, grid) + arch.trail
        return rows * arch.dim * FLOAT32_BYTES
    cached = {
        "C": 3 * arch.depth,
        "T": arch.windowed_depth,
        "H": 3 * arch.windowed_depth,
        None: 0,
    }[version]
    each = token_bytes(arch, grid)
    rows = grid.area + (arch.lead if version else 0)
    return cached * (each // grid.area) * rows + len(arch.taps) * each


def resolve_version(version: Version | None, arch: ViTArch) -> Version | None:
    """Return C where none is given and the backbone has windows, or detection tokens.

    Raises UsageError for one on other backbones, and for T and H with detection tokens or class
    tokens in windows.
    """
    if arch.trail and version not in (None, "C"):
        raise UsageError(
            f"version {version} lets tokens attend to kept ones alone, and the detection tokens of "
            f"{arch.name} see no object in the others",
            remedy="leave version out, which is C",
        )
    if arch.window_lead and version not in (None, "C"):
        raise UsageError(
            f"version {version} is for windows without class tokens; those of {arch.name} have "
            "some",
            remedy="leave version out, or use C",
        )
    if arch.windowed_depth or arch.trail:
        return version or "C"
    if version is not None:
        raise UsageError(
            f"version {version} is for windowed backbones; {arch.name} has none",
            remedy="leave version out",
        )
    return None
