"""How much attention the tokens of a sequence get, and their attention output after the choice.

The score of a token is the attention that the class token pays to it, a mean over heads; without
class token, the mean attention that it gets from all queries and heads. In the first case the class
token's attention alone is computed before the choice, then that of the tokens that are wanted; in
the second that of all tokens is needed for the scores.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.relative import KeyPlaces, RelativeLogits
from maskvd_cli.families.blocks.vit import Block
from maskvd_cli.methods.attention_maps import attention_weights

# Queries whose attention is held at once where all of them vote: 12 x 256 x 4096 weights, 50 MB.
_QUERIES_AT_ONCE = 256

# From positions (B, m) in the sequence, class token apart, to the attention output (B, [1 +] m, D)
# of these tokens, behind that of the class token; None: of all tokens.
Attend = Callable[[Tensor | None], Tensor]


def scored_attention(
    block: Block, normed: Tensor, index: Tensor, grid: Size
) -> tuple[Tensor, Attend]:
    """Return the scores (B, n) of a sequence, and what gives the attention output.

    `normed` (B, [1 +] n, D) is the block's normalised input, class token first; `index` (B, n) the
    flat grid index of the others, N for tokens without a place. Scores are in single precision at
    least.
    """
    if normed.shape[1] > index.shape[1]:
        return _scored_by_class(block, normed)
    qkv = block.qkv(normed)
    votes = [_vote(block, qkv[[clip]], at, grid) for clip, at in enumerate(index)]
    attended = torch.cat([clip for clip, _ in votes])
    scores = torch.stack([score for _, score in votes])
    return scores, lambda places: attended if places is None else take(attended, places)


def attend_in_place(block: Block, qkv: Tensor, index: Tensor, grid: Size) -> Tensor:
    """Return the attention output (B, [1 +] n, D) of a sequence among itself, without scores.

    Tokens without a place neither give nor get relative terms.
    """
    if block.relative is None:
        return block.attend(qkv, grid)
    clips: list[Tensor] = []
    for clip, at in enumerate(index):
        query, key, value = block.split(qkv[[clip]])
        clips.append(block.merge(attention(query, key, value, *_relative(block, query, at, grid))))
    return torch.cat(clips)


def take(rows: Tensor, places: Tensor, lead: int = 0) -> Tensor:
    """Return the `rows` (B, lead + n, ...) at `places` (B, m), behind the first `lead` of them."""
    if lead:
        first = torch.arange(lead, device=places.device).expand(len(places), -1)
        places = torch.cat([first, places + lead], dim=1)
    return rows[clips(places), places]


def clips(places: Tensor) -> Tensor:
    """Return the number of the clip that each of `places` (B, m) belongs to, (B, 1)."""
    return torch.arange(len(places), device=places.device)[:, None]


def _scored_by_class(block: Block, normed: Tensor) -> tuple[Tensor, Attend]:
    key, value = (block.to_heads(part) for part in block.keys_values(normed).chunk(2, dim=-1))

    def queries(rows: Tensor) -> Tensor:
        return block.to_heads(block.queries(rows))

    paid = attention_weights(queries(normed[:, :1]), key)

    def attend(places: Tensor | None) -> Tensor:
        rows = normed[:, 1:] if places is None else take(normed[:, 1:], places)
        others = attention(queries(rows), key, value)
        return block.merge(torch.cat([paid.to(value.dtype) @ value, others], dim=2))

    return paid[:, :, 0, 1:].mean(1), attend


def _vote(block: Block, qkv: Tensor, index: Tensor, grid: Size) -> tuple[Tensor, Tensor]:
    """Return the attention output (1, n, D) of one clip's tokens, and their scores (n,)."""
    query, key, value = block.split(qkv)
    relative, places = _relative(block, query, index, grid)
    parts: list[Tensor] = []
    received = torch.zeros((), device=qkv.device)
    for start in range(0, len(index), _QUERIES_AT_ONCE):
        chunk = slice(start, start + _QUERIES_AT_ONCE)
        bias = None if relative is None else relative.bias(chunk, places)
        paid = attention_weights(query[:, :, chunk], key, bias)
        parts.append(paid.to(value.dtype) @ value)
        received = received + paid.sum((0, 1, 2))
    return block.merge(torch.cat(parts, dim=2)), received / (block.heads * len(index))


def _relative(
    block: Block, query: Tensor, index: Tensor, grid: Size
) -> tuple[RelativeLogits, KeyPlaces] | tuple[None, None]:
    """Return the relative terms of one clip's queries, zero for and towards tokens without place.

    Keys without a place stand in a row and a column more, whose terms are zero.
    """
    if block.relative is None:
        return None, None
    placed = index < grid.area
    terms = block.relative(query, grid, at=index.clamp(max=grid.area - 1))
    rows, cols = (F.pad(part * placed[:, None], (0, 1)) for part in terms)
    return RelativeLogits(rows, cols), KeyPlaces(
        (index // grid.cols).where(placed, torch.full_like(index, grid.rows)),
        (index % grid.cols).where(placed, torch.full_like(index, grid.cols)),
    )
