"""How much attention the tokens of a sequence get, and their attention output after the choice.

The score of a token is the attention that the class token pays to it, a mean over heads; without
class token, the mean attention that it gets from all queries and heads. In the first case the class
token's attention alone is computed before the choice, then that of the tokens that are wanted; in
the second that of all tokens is needed for the scores. Sequences may be groups of an image
(`groups`), of which `together` attend to each other; the class token of each votes for its own.
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
from maskvd_cli.methods.groups import joined, of_own_group, parted, parted_heads

# Queries whose attention is held at once where all of them vote: 12 x 256 x 4096 weights, 50 MB.
_QUERIES_AT_ONCE = 256

# From positions (B, m) in the sequence, tokens in front of it apart, to the attention output
# (B, always + m, D) of these tokens, behind that of those in front; None: of all tokens.
Attend = Callable[[Tensor | None], Tensor]
# Sees the weights (1, H, [1 +] n, [1 +] n) of a sequence of one clip, and its index (n,).
See = Callable[[Tensor, Tensor], None]


def scored_attention(  # noqa: PLR0913, PLR0917 - a sequence, its block, and who attends to whom
    block: Block,
    normed: Tensor,
    index: Tensor,
    grid: Size,
    watch: See | None = None,
    together: int = 1,
) -> tuple[Tensor, Attend]:
    """Return the scores (B, n) of a sequence, and what gives the attention output.

    `normed` (B, always + n, D) is the block's normalised input, in front the class token and other
    tokens that always stay; `index` (B, n) the flat grid index of the others, N for tokens without
    a place. Scores are in single precision at least. Where somebody watches, all weights are
    computed, class token or not.
    """
    if watch is not None:
        return _watched(block, normed, index, grid, watch)
    always = normed.shape[1] - index.shape[1]
    if always:
        paid, _, attend = class_attention(block, normed, always, together)
        return paid[..., always:].mean(1), attend
    qkv, at = joined(block.qkv(normed), together), joined(index, together)
    votes = [_vote(block, qkv[[clip]], places, grid) for clip, places in enumerate(at)]
    attended = parted(torch.cat([clip for clip, _ in votes]), together)
    scores = torch.stack([score for _, score in votes]).view(index.shape)
    return scores, lambda places: attended if places is None else take(attended, places)


def attend_in_place(
    block: Block, qkv: Tensor, index: Tensor, grid: Size, together: int = 1
) -> Tensor:
    """Return the attention output (B, always + n, D) of a sequence among itself, without scores.

    Tokens without a place neither give nor get relative terms.
    """
    if block.relative is None:
        return parted(block.attend_among(joined(qkv, together), grid, index), together)
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


def weights_in_place(block: Block, qkv: Tensor, index: Tensor, grid: Size) -> Tensor:
    """Return the attention weights (B, H, n, n) of a sequence, in single precision at least.

    `qkv` (B, n, 3D), tokens that always stay in front where `index` is shorter; else as in
    `scored_attention`.
    """
    query, key, _ = block.split(qkv)
    if block.relative is None:
        return attention_weights(query, key)
    clips: list[Tensor] = []
    for clip, at in enumerate(index):
        relative, places = _relative(block, query[[clip]], at, grid)
        bias = None if relative is None else relative.bias(slice(None), places)
        clips.append(attention_weights(query[[clip]], key[[clip]], bias))
    return torch.cat(clips)


def _watched(
    block: Block, normed: Tensor, index: Tensor, grid: Size, watch: See
) -> tuple[Tensor, Attend]:
    qkv, lead = block.qkv(normed), normed.shape[1] - index.shape[1]
    weights, value = weights_in_place(block, qkv, index, grid), block.split(qkv)[2]
    watch(weights, index[0])
    scores = weights[:, :, 0, lead:].mean(1) if lead else weights.mean((1, 2))

    def attend(places: Tensor | None) -> Tensor:
        rows = weights
        if places is not None:
            rows = take(weights.transpose(1, 2), places, lead).transpose(1, 2)
        return block.merge(rows.to(value.dtype) @ value)

    return scores, attend


def class_attention(
    block: Block, normed: Tensor, always: int = 1, together: int = 1
) -> tuple[Tensor, Tensor, Attend]:
    """Return what each class token pays to its sequence, (B, H, always + n), and all values.

    Values are (B, H, always + n, c). Last comes what gives the attention output, as in
    `scored_attention`, of which `normed` is; the class token is the first.
    """
    both = joined(block.keys_values(normed), together).chunk(2, dim=-1)
    key, value = (block.to_heads(part) for part in both)

    def queries(rows: Tensor) -> Tensor:
        return block.to_heads(joined(block.queries(rows), together))

    paid = attention_weights(queries(normed[:, :1]), key)

    def attend(places: Tensor | None) -> Tensor:
        rows = normed[:, 1:] if places is None else take(normed[:, 1:], places, always - 1)
        others = block.merge(attention(queries(rows), key, value))
        first = block.merge(paid.to(value.dtype) @ value)
        return torch.cat([parted(first, together), parted(others, together)], dim=1)

    return of_own_group(paid, together), parted_heads(value, together), attend


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
