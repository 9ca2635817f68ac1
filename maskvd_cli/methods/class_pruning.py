"""RGTP where nothing but the class token is read: the spatial transformer of ViViT.

Steps of a look stand where a detector has frames. Tokens that a step leaves out are gone from it,
since nothing lies on a grid; nothing is cached. Which ones stay is told before the step runs:

    step 0              all
    each P-th           a fixed pattern (`reset`), whatever mattered before
    the others          of the K tokens with the highest tracked importance every round(1/f)-th by
                        rank, and of the others in raster order every round(1/b)-th

In block 0 those that stay ask all tokens; all that follows is among them and the class token.
Importance is the class token's row of the attention rollout: one-hot at the class token behind the
last block, v := B^T v back to what enters block 1, with B = rownorm((F + I) / 2) as in
`attention_maps`. Block 0 passes it on among those that stay, with the rows of all of its B. A token
that was left out takes the importance of the token that stayed whose key in block 0, a mean over
heads, has the largest dot product with its own; the sum becomes 1.

Where the text and the published code leave something open, or the code does more: of equal
importance, and of equally alike tokens, the lower index goes first. Nothing reads the importance of
a step that comes before a P-th one, so that it is not computed: `gmacs` counts what is executed
here, `gmacs_published` what is there.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_maps import AttentionMaps
from maskvd_cli.methods.frame import FrameContext, premature
from maskvd_cli.methods.pruned_costs import PRUNED
from maskvd_cli.methods.rgtp_params import Reset, RGTPParams
from maskvd_cli.methods.trace import MASK, FrameTrace
from maskvd_cli.methods.tracking import best, tracked

# Whether a step's tokens followed those of the step before, and whether the next one's will.
TRACKED, ROLLED = "tracked", "rolled"


class ClassPruning:
    """A look's steps one after the other, with what is kept from each for the next."""

    def __init__(self, params: RGTPParams, backbone: VisionTransformer) -> None:
        self.params = params
        self.backbone = backbone
        self.before: Tensor | None = None
        self.importance: Tensor | None = None

    def forget(self) -> None:
        """Begin another look."""
        self.before = self.importance = None

    def state(self) -> Iterable[Tensor]:
        """Yield embedded patches (N, D) and importance (N,) of the last step that a step reads."""
        yield from (part for part in (self.before, self.importance) if part is not None)

    def choose(self, tokens: Tensor, frame: FrameContext) -> Tensor | None:
        """Return the tokens of a step that stay, (k,) sorted, on its device; None: all of them.

        `tokens` (N, D): embedded patches, positions not yet added. Raises UsageError for a k above
        N, and where no step ran that this one could follow.
        """
        params, grid = self.params, frame.grid
        count = params.count(grid.area)
        if frame.index == 0:
            return None
        if not self._follows(frame.index):
            return reset_tokens(params.reset or "full", grid).to(tokens.device)
        if self.importance is None or self.before is None:
            raise premature("pruned step", "look")
        scores = tracked(self.importance, tokens, self.before, grid, params.radius)
        return sampled(scores, count, params.every, params.every_other)

    def run(
        self, tokens: Tensor, frame: FrameContext, index: Tensor | None
    ) -> tuple[Tensor, FrameTrace]:
        """Return the class token's features (1, 1, D) of embedded patches (1, N, D).

        `index` as `choose` gives it.
        """
        grid, backbone = frame.grid, self.backbone
        maps = AttentionMaps(self.params.fusion, "matvec")
        reads = maps if self._follows(frame.index + 1) else None
        rows = None if index is None else _behind_lead(index, backbone.arch.lead)
        x = backbone.with_class_token(tokens + backbone.positions_on(grid))
        x, keys = _first(backbone.blocks[0], x, rows, grid, reads)
        for number, block in enumerate(backbone.blocks[1:], start=1):
            query, key, value = block.split(block.qkv(block.norm1(x)))
            x = block.complete(x, _attend(number, query, key, value, grid, reads))
        if reads is not None:
            self.importance = self._rolled_out(maps, keys[0].mean(0), index, rows)
            self.before = tokens[0].clone()
        return backbone.finish(x), self._trace(frame.index, grid, index, tokens.device)

    def _follows(self, number: int) -> bool:
        """Whether a step reads the importance of the one before."""
        return number % self.params.period != 0

    def _rolled_out(
        self, maps: AttentionMaps, keys: Tensor, index: Tensor | None, rows: Tensor | None
    ) -> Tensor:
        """Return the importance (N,) of a step's tokens; `keys` (n, c) are those of block 0."""
        last, lead = max(maps.maps), self.backbone.arch.lead
        found = torch.zeros_like(maps.maps[last][0])
        found[0] = 1
        for number in range(last, -1, -1):
            fused = maps.maps[number]
            weighted = found / (fused.sum(1) + 1)
            # Of block 0, rows have all tokens, of which those that stay are read.
            among = fused if number or rows is None else fused[:, rows]
            found = weighted @ among + weighted
        found = found[lead:]
        if index is not None:
            found = _spread(found, index, keys[lead:])
        return found / found.sum()

    def _trace(
        self, number: int, grid: Size, index: Tensor | None, device: torch.device
    ) -> FrameTrace:
        counts = {
            PRUNED: int(index is not None),
            TRACKED: int(self._follows(number)),
            ROLLED: int(self._follows(number + 1)),
        }
        if index is None:
            index = torch.arange(grid.area, device=device)
        # Keys and values of the first block, the lesser half of it, are those of all tokens.
        share = 1 - 0.5 / self.backbone.arch.depth
        return FrameTrace(len(index), len(index) == grid.area, counts, {MASK: index}, {MASK: share})


def sampled(scores: Tensor, count: int, every: int, every_other: int) -> Tensor:
    """Return the tokens that stay, (k,) sorted, of scores (N,).

    Every `every`-th of the `count` best by rank, and of the others in raster order every
    `every_other`-th, none at 0.
    """
    order = best(scores, len(scores))
    chosen = order[:count:every]
    if every_other:
        chosen = torch.cat([chosen, order[count:].sort().values[::every_other]])
    return chosen.sort().values


def reset_tokens(pattern: Reset, grid: Size) -> Tensor:
    """Return the tokens of a fixed pattern, (k,) in raster order.

    1in2: a checkerboard that begins with the first token; 1in4: every second of every second row.
    """
    rows, cols = torch.arange(grid.rows)[:, None], torch.arange(grid.cols)
    if pattern == "1in2":
        there = (rows + cols) % 2 == 0
    elif pattern == "1in4":
        there = (rows % 2 == 0) & (cols % 2 == 0)
    else:
        there = torch.ones(*grid, dtype=torch.bool)
    return there.flatten().nonzero().squeeze(1)


def _behind_lead(index: Tensor, lead: int) -> Tensor:
    """Return the places of tokens in the sequence, those before the grid's own in front."""
    return torch.cat([torch.arange(lead, device=index.device), index + lead])


def _first(
    block: Block, x: Tensor, rows: Tensor | None, grid: Size, reads: AttentionMaps | None
) -> tuple[Tensor, Tensor]:
    """Run block 0, in which `rows` of x (1, n, D) ask all; return them, and its keys (1, H, n, c).

    Those that are left out answer, and are not computed any further.
    """
    normed = block.norm1(x)
    key, value = (block.to_heads(part) for part in block.keys_values(normed).chunk(2, dim=-1))
    if rows is not None:
        x, normed = x[:, rows], normed[:, rows]
    query = block.to_heads(block.queries(normed))
    return block.complete(x, _attend(0, query, key, value, grid, reads)), key


def _attend(  # noqa: PLR0913, PLR0917 - the block's number, its parts, and who reads
    number: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: Size,
    reads: AttentionMaps | None,
) -> Tensor:
    """Return the attention output (1, m, D) of queries, read where somebody wants to."""
    if reads is None:
        return Block.merge(attention(query, key, value))
    return reads.attend(number, query, key, value, None, grid, None)


def _spread(found: Tensor, index: Tensor, keys: Tensor) -> Tensor:
    """Return the importance (N,) of all tokens from that of those that stayed, (k,), at `index`.

    The others take that of the most alike by `keys` (N, c).
    """
    gone = torch.ones(len(keys), dtype=torch.bool, device=keys.device).index_fill_(0, index, False)
    rest = gone.nonzero().squeeze(1)
    wide = keys.to(found.dtype)
    likest = (wide[rest] @ wide[index].mT).argmax(1)
    spread = found.new_zeros(len(keys)).index_copy_(0, index, found)
    return spread.index_copy_(0, rest, found[likest])
