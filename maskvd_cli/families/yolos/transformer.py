"""The backbone of YOLOS: detection tokens behind the patches, positions between the blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.relative import may_be_kept, resize_bicubic
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.yolos.archs import YolosArch


class MidPositions(nn.Module):
    """What is added to all tokens after block i, for every block but the last.

    Parameters: `grid` (L - 1, rows, cols, D), resized to the input's grid; `lead` (L - 1, 1, D) and
    `trail` (L - 1, T, D) of the class token and the detection tokens.
    """

    def __init__(self, arch: YolosArch) -> None:
        super().__init__()
        between = arch.depth - 1
        self.grid = nn.Parameter(torch.empty(between, *arch.position_table, arch.dim))
        self.lead = nn.Parameter(torch.empty(between, arch.lead, arch.dim))
        self.trail = nn.Parameter(torch.empty(between, arch.trail, arch.dim))
        self._kept: tuple[tuple[object, ...], Tensor] | None = None
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=0.02)

    def on(self, grid: Size) -> Tensor:
        """Return the positions (L - 1, 1 + N + T, D); kept unless a gradient is wanted."""
        parts = (self.grid, self.lead, self.trail)
        if not may_be_kept(*parts):
            return self._made(grid)
        told = tuple((part._version, part.data_ptr(), part.dtype, part.device) for part in parts)
        state = (grid, *told)
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                self._kept = (state, self._made(grid))
        return self._kept[1]

    def _made(self, grid: Size) -> Tensor:
        tables = self.grid
        if Size(*tables.shape[1:3]) != grid:
            tables = torch.stack([resize_bicubic(table, grid) for table in tables])
        return torch.cat([self.lead, tables.flatten(1, 2), self.trail], dim=1)


class DetectionTransformer(VisionTransformer):
    """A plain transformer that is read at its detection tokens alone.

    The positions that the published model adds to its class token and its detection tokens are part
    of these tokens here: the sums are the same. Parameter: `detection_tokens` (1, T, D).
    """

    arch: YolosArch

    def __init__(self, arch: YolosArch) -> None:
        super().__init__(arch)
        if self.class_token is None or self.final_norm is None:
            raise ValueError(f"{arch.name} has no class token, or no final norm")
        self.detection_tokens = nn.Parameter(torch.empty(1, arch.detections, arch.dim))
        self.mid_positions = MidPositions(arch) if arch.mid_positions else None
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.detection_tokens, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = arch.norm_eps

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the class token before (B, n, D) tokens, and the detection tokens behind them."""
        assert self.class_token is not None
        around = (self.class_token, self.detection_tokens)
        lead, trail = (part.expand(len(tokens), -1, -1) for part in around)
        return torch.cat([lead, tokens, trail], dim=1)

    def between(
        self, number: int, sequence: Tensor, grid: Size, rows: Tensor | None = None
    ) -> Tensor:
        """Add the positions that follow block `number`, if there are any."""
        if self.mid_positions is None or number == self.arch.depth - 1:
            return sequence
        added = self.mid_positions.on(grid)[number]
        return sequence + (added if rows is None else added[rows])

    def finish(self, sequence: Tensor) -> Tensor:
        """Return the detection tokens (B, T, D) after the final norm."""
        assert self.final_norm is not None
        return self.final_norm(sequence[:, -self.arch.detections :])
