"""Bipartite soft matching: which tokens of a sequence merge, and into which.

ToMe (ICLR 2023, arXiv 2210.09461), section 3. Tokens at even positions may merge, each into that
token at an odd position whose metric is most like its own; the pairs that are most alike do. A
token weighs as much as the number of tokens that it stands for, so that a merged one is the mean of
all of them. Those that are left lie as in the published code: what was kept of the even ones, then
the odd ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def mergeable(length: int, lead: int = 0, trail: int = 0) -> int:
    """Return how many tokens of a sequence can merge at once: half of those that may."""
    return max(length - lead - trail, 0) // 2


def sides(length: int, lead: int = 0, trail: int = 0) -> tuple[range, range]:
    """Return the positions that may merge, and those into which they may; `match` tells of both."""
    end = length - trail
    return range(lead + lead % 2, end, 2), range(lead + 1 - lead % 2, end, 2)


@dataclass(frozen=True)
class Matching:
    """What becomes of the T tokens of a sequence, of which T' are left.

    `to` (B, T) int64: the position among those that are left of the token that each goes to;
    `own` (B, T') int64: which of the T each of those that are left is, the odd one where it merged.
    """

    to: Tensor
    own: Tensor

    def merged(self, tokens: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens that are left, (B, T', D), and how many each stands for, (B, T').

        `tokens` (B, T, D) stand for `sizes` (B, T) each. Sums are in single precision at least.
        """
        wide = torch.promote_types(tokens.dtype, torch.float32)
        weights = sizes.to(wide)
        left = self.own.shape
        total = weights.new_zeros(left).scatter_add(1, self.to, weights)
        weighted = tokens.to(wide) * weights[..., None]
        into = self.to[..., None].expand_as(weighted)
        sums = weighted.new_zeros(*left, tokens.shape[-1]).scatter_add(1, into, weighted)
        return (sums / total[..., None]).to(tokens.dtype), total.to(sizes.dtype)

    def unmerged(self, tokens: Tensor) -> Tensor:
        """Return for each of the T tokens what it went to, (B, T, D) from (B, T', D)."""
        return rows_at(tokens, self.to)


def match(metric: Tensor, count: int, lead: int = 0, trail: int = 0) -> Matching:
    """Match (B, T, c), of which `count` tokens merge, at most `mergeable`.

    The first `lead` and the last `trail` tokens neither merge nor take others in: class and
    detection tokens. Of equally like tokens that at the lower position is taken. Where none merges,
    all stay where they are.
    """
    length = metric.shape[1]
    if not count:
        same = torch.arange(length, device=metric.device).expand(len(metric), -1)
        return Matching(same, same)
    even, odd = (
        torch.arange(side.start, side.stop, side.step, device=metric.device)
        for side in sides(length, lead, trail)
    )
    unit = F.normalize(metric, dim=-1)
    likeness, best = (unit[:, even] @ unit[:, odd].mT).max(dim=-1)
    order = likeness.argsort(dim=1, descending=True, stable=True)
    merging, kept = order[:, :count], order[:, count:]
    if lead:
        # The published code keeps the order of sequences with a class token, and of those alone.
        kept = kept.sort(dim=1).values
    first, last = (
        torch.arange(start, stop, device=metric.device).expand(len(metric), -1)
        for start, stop in ((0, lead), (length - trail, length))
    )
    own = torch.cat([first, even[kept], odd.expand(len(metric), -1), last], dim=1)
    place = torch.arange(own.shape[1], device=metric.device).expand_as(own)
    to = torch.zeros(len(metric), length, dtype=torch.int64, device=metric.device)
    to.scatter_(1, own, place)
    behind = lead + kept.shape[1]
    to.scatter_(1, even[merging], behind + best.gather(1, merging))
    return Matching(to, own)


def rows_at(rows: Tensor, places: Tensor) -> Tensor:
    """Return the `rows` (B, n, ...) at `places` (B, m), clip by clip."""
    return rows[torch.arange(len(places), device=places.device)[:, None], places]
