"""Token gates: a layer recomputes only the tokens that moved since they last went through it.

A gate keeps a reference u (B, n, D), what each token was when it last went through, and the layer's
output b of all tokens. On the first frame of a clip everything goes through: u = c, b = f(c).
Later, on input c:

    e = c - u                   how far each token has moved
    index = policy(|e|_2)       which tokens go through
    u[index] = c[index]         errors of the others stay in e, and add up
    b[index] = f(c[index])      all of b is the output

STGT's gates forget instead: u = c for all tokens, on every frame. Eventful Transformers (ICCV 2023,
arXiv 2308.13494), section 4.1 and its code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.masks.static import kept_tokens
from maskvd_cli.methods.params import TOKEN_COUNTS, Params

Layer = Callable[[Tensor], Tensor]
_MEASURES = {"top_r": "r", "threshold": "threshold", "top_fraction": "fraction"}


class GateParams(Params):
    """Which tokens go through a gate, and what it compares."""

    policy: Literal["top_r", "threshold", "top_fraction"] = Field(
        default="top_r",
        description="the r tokens, or the fraction of all tokens, that moved most go through a "
        "gate, or all that moved by more than threshold (L2 norm)",
    )
    r: Annotated[int | None, TOKEN_COUNTS] = Field(
        default=None, ge=1, description="top_r: tokens per gate, a class token counted in"
    )
    threshold: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="threshold: the norm to exceed"
    )
    fraction: float | None = Field(
        default=None, gt=0, le=1, description="top_fraction: share of all tokens, rounded down"
    )
    gate: Literal["after_ln", "before_ln"] = Field(
        default="after_ln",
        description="gates of QKV and MLP compare tokens after their LayerNorm, or before it",
    )

    @model_validator(mode="after")
    def _the_measure_of_the_policy_alone(self) -> Self:
        needed = _MEASURES[self.policy]
        given = [name for name in _MEASURES.values() if getattr(self, name) is not None]
        if given != [needed]:
            found = f"not {' and '.join(given)}" if given else "which is missing"
            raise ValueError(f"policy {self.policy} takes {needed} alone, {found}")
        return self

    def count(self, length: int) -> int | None:
        """Return how many of `length` tokens go through a gate; None where their values decide.

        Raises UsageError for an r that is larger.
        """
        if self.fraction is not None:
            return kept_tokens(self.fraction, length)
        if self.r is not None and self.r > length:
            raise UsageError(
                f"r {self.r} is more than the sequence's {length} tokens",
                remedy=f"give an r of at most {length}, with which all tokens go through",
            )
        return self.r


def choose(norms: Tensor, params: GateParams, among: Tensor | None = None) -> Tensor:
    """Return the tokens that go through, (B, m) int64, sorted for each clip.

    `norms` (B, n) of their errors. Equal norms: lower index first, by a stable sort. NaN counts as
    the largest, so that it cannot hide behind an old output. `threshold` takes a batch of one.
    Where there are fewer than r tokens, all go through. `among` (k,): those that may, sorted; None:
    any.
    """
    count = params.count(norms.shape[1]) if params.r is None else params.r
    if among is None:
        return _best(norms, params, count)
    return among[_best(norms[:, among], params, count)]


def _best(norms: Tensor, params: GateParams, count: int | None) -> Tensor:
    """Return the tokens above the threshold, else the `count` with the largest norms, sorted."""
    if params.threshold is not None:
        assert len(norms) == 1, "clips would differ in how many tokens go through"
        return (~(norms[0] <= params.threshold)).nonzero().T
    order = norms.sort(dim=1, descending=True, stable=True).indices
    return order[:, :count].sort(dim=1).values


class TokenGate:
    """One gate and its layer's output: u and b of the formulas above.

    `always`: so many tokens at the end go through whatever they do, beside the chosen ones.
    """

    def __init__(self, params: GateParams, *, forgets: bool = False, always: int = 0) -> None:
        self.params = params
        self.forgets = forgets
        self.always = always
        self.reference: Tensor | None = None
        self.output: Tensor | None = None

    def __call__(
        self, tokens: Tensor, layer: Layer, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the layer's output of all tokens (B, n, D), and which were recomputed.

        The output is the gate's own: only read it, and only until the next call. The index is
        (B, m) int64 and sorted, None where all tokens went through densely. Raises UsageError
        for tokens of another shape than the clip's. `among` (k,): which tokens may go through;
        errors of the others stay, as of those that did not move enough.
        """
        if self.reference is None or self.output is None:
            self.reference, self.output = tokens.clone(), layer(tokens)
            return self.output, None
        if tokens.shape != self.reference.shape:
            raise UsageError(
                f"{_described(tokens)} came in a clip of {_described(self.reference)}",
                remedy="reset where input size or batch change",
            )
        # Summed in half precision, norms would overflow, and tie more often.
        wide = torch.float32 if tokens.element_size() < torch.float32.itemsize else None
        norms = torch.linalg.vector_norm(tokens - self.reference, dim=-1, dtype=wide)
        index = self._chosen(norms, among)
        changed = take(tokens, index, 1)
        if self.forgets:
            self.reference.copy_(tokens)
        else:
            put(self.reference, index, changed, 1)
        put(self.output, index, layer(changed), 1)
        return self.output, index

    def _chosen(self, norms: Tensor, among: Tensor | None) -> Tensor:
        batch, length = norms.shape
        free = length - self.always
        index = choose(norms[:, :free], self.params, among)
        if not self.always:
            return index
        last = torch.arange(free, length, device=norms.device).expand(batch, -1)
        return torch.cat([index, last], dim=1)


def take(state: Tensor, index: Tensor, dim: int) -> Tensor:
    """Return a copy of the entries `index` (B, m) of `state` (B, ...) along `dim`, clip by clip."""
    if len(index) == 1:
        return state.index_select(dim, index[0])
    return state.gather(dim, _spread(index, state, dim))


def put(state: Tensor, index: Tensor, entries: Tensor, dim: int) -> None:
    """Write `entries` in place over what `take` would return."""
    if len(index) == 1:
        state.index_copy_(dim, index[0], entries)
    else:
        state.scatter_(dim, _spread(index, state, dim), entries)


def _spread(index: Tensor, state: Tensor, dim: int) -> Tensor:
    batch, count = index.shape
    along = [count if axis == dim else 1 for axis in range(1, state.dim())]
    sizes = [count if axis == dim else side for axis, side in enumerate(state.shape)]
    return index.view(batch, *along).expand(sizes)


def _described(tokens: Tensor) -> str:
    return f"{len(tokens)} x {tokens.shape[1]} tokens"
