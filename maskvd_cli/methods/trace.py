"""What a method did on a frame, and on the frames of a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.counts import block_count
from maskvd_cli.core.size import Size

MASK = "mask"


@dataclass(frozen=True)
class FrameTrace:
    """What one step recomputed.

    `tokens` pushed through the token-wise layers (a mean where they differ); `full`: all of them;
    `counts`: what the closed forms need besides. `selected`: sorted token indices, (n,) or (B, n),
    by the name of what selected them, on the device of the backbone; they count `lead`
    tokens without a place before those of the grid.

    `shares` says how they are to be read: which part of the backbone's layers sees the tokens of
    each set, all tokens pass through the rest. `{"mask": 1.0}`: one set serves the whole backbone;
    36 gates have 1/36 each; where nothing is said, a token counts that is in any set. `meaning`:
    in words, what it says of a token that its share is high.

    `layers`: how many tokens of the grid each block computed, empty where that is not told.
    `scores`: by the number of a block, the scores (N,) from which it was chosen what it computes,
    NaN for tokens that had none; high ones are computed.
    """

    tokens: float
    full: bool
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    selected: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    meaning: str = "recomputed"
    lead: int = 0
    layers: tuple[int, ...] = ()
    scores: Mapping[int, Tensor] = field(default_factory=dict[int, Tensor])

    @property
    def mask(self) -> Tensor | None:
        """The tokens (n,) that the whole backbone recomputes, None where layers differ."""
        return self.selected[MASK] if set(self.selected) == {MASK} else None

    def without_sets(self) -> FrameTrace:
        """Return the trace without indices and scores, which hold memory of the device."""
        return replace(self, selected={}, shares={}, scores={})

    def every_count(self) -> dict[str, int]:
        """Return `counts`, and what each block computed under the names of `block_count`."""
        layers = {block_count(number): tokens for number, tokens in enumerate(self.layers)}
        return {**self.counts, **layers}

    def share(self, tokens: int) -> NDArray[np.float64] | None:
        """Return for each of N `tokens` in which part of the layers it is recomputed, (N,) in 0..1.

        None where the method does not tell its tokens.
        """
        if self.shares:
            share = np.full(tokens, 1.0 - sum(self.shares.values()))
            for name, part in self.shares.items():
                share += part * self._marked(name, tokens)
            return share.clip(0.0, 1.0)
        if self.full:
            return np.ones(tokens)
        if not self.selected:
            return None
        return np.max([self._marked(name, tokens) for name in self.selected], axis=0)

    def _marked(self, name: str, tokens: int) -> NDArray[np.float64]:
        """Return 1 at the places of a set, 0 elsewhere."""
        places = self.selected[name].detach().cpu().numpy().reshape(-1) - self.lead
        marked = np.zeros(tokens)
        marked[places[(places >= 0) & (places < tokens)]] = 1.0
        return marked


@dataclass(frozen=True)
class SetsWhenAsked(Mapping[str, Tensor]):
    """Index sets of which some hold every token, (B, n), built only where somebody looks.

    So a frame that is timed does not pay for them. `sets`: None stands for all `length` tokens.
    """

    sets: Mapping[str, Tensor | None]
    batch: int
    length: int
    device: torch.device

    def __getitem__(self, name: str) -> Tensor:
        index = self.sets[name]
        if index is not None:
            return index
        return torch.arange(self.length, device=self.device).expand(self.batch, -1)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sets)

    def __len__(self) -> int:
        return len(self.sets)

    def sizes(self) -> dict[str, int]:
        """Return how many tokens of a clip each set holds."""
        return {
            name: self.length if index is None else index.shape[1]
            for name, index in self.sets.items()
        }


@dataclass(frozen=True)
class TokenTrace:
    """What the frames of a clip recomputed, one entry per frame, for the closed forms.

    `tokens` float64 and `full` bool as in FrameTrace; `counts` int64 by name; `kept` (frames, N)
    bool where one set of tokens serves the whole backbone and is known.
    """

    tokens: NDArray[np.float64]
    full: NDArray[np.bool_]
    counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    kept: Tensor | None = None

    @classmethod
    def of(cls, frames: Sequence[FrameTrace]) -> TokenTrace:
        """Stack the traces of single steps; what their blocks computed stands among the counts."""
        counted = [frame.every_count() for frame in frames]
        names = {name for counts in counted for name in counts}
        return cls(
            np.array([frame.tokens for frame in frames], dtype=np.float64),
            np.array([frame.full for frame in frames], dtype=np.bool_),
            {
                name: np.array([counts[name] for counts in counted], dtype=np.int64)
                for name in sorted(names)
            },
        )

    @property
    def whole_tokens(self) -> NDArray[np.int64]:
        """`tokens` as integers, for methods whose layers all see the same tokens."""
        return self.tokens.astype(np.int64)


def every_token(frames: int, grid: Size, **counts: int) -> TokenTrace:
    """Return the trace of frames that are all full; `counts` are the same on each."""
    return TokenTrace(
        np.full(frames, grid.area, dtype=np.float64),
        np.ones(frames, dtype=np.bool_),
        {name: np.full(frames, value, dtype=np.int64) for name, value in counts.items()},
        torch.ones(frames, grid.area, dtype=torch.bool),
    )
