"""Combinations `A+B` by name: A chooses the tokens of a frame ahead, B runs them.

A is any method that chooses ahead (`selecting`). B runs the chosen tokens in place of A's own
execution: with ever fewer of them (`reducing`), or through gates, which then ask the chosen ones
alone whether they moved (`gated`). Full frames are those of A. Instead of choosing ahead, gates of
A may also meet a B that keeps tokens in slots (`slotted`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Method,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
)
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.illustration import Pictured
from maskvd_cli.methods.joined_params import Half, joined
from maskvd_cli.methods.reducing import ReducingMethod
from maskvd_cli.methods.selecting import SelectingMethod, Watch
from maskvd_cli.methods.slotted import slotted, why_not_slotted

JOINT = "+"


class RunsChosen(Protocol):
    """What the second half of a combination offers: `ReducingMethod` and `GatedMethod` do."""

    def compute_chosen(
        self, tokens: Tensor, frame: FrameContext, kept: Tensor, watch: Watch | None = None
    ) -> tuple[Tensor, FrameTrace]: ...
    def forget(self) -> None: ...
    def state(self) -> Iterable[Tensor]: ...


class Combination(TokenMethod[Params]):
    """A method made of two. MACs: the second's, and what choosing itself multiplies.

    State: what choosing remembers, and the second's.
    """

    first: ClassVar[type[SelectingMethod[Any]]]
    second: ClassVar[type[ReducingMethod[Any]] | type[GatedMethod[Any]]]
    halves: ClassVar[tuple[Half, Half]]

    def __init__(self, params: Params, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        first, second = (half.of(self.params) for half in self.halves)
        self.selecting = self.first(first, backbone)
        self.running: RunsChosen = self.second(second, backbone)

    def forget(self) -> None:
        self.selecting.forget()
        self.running.forget()

    def select_from(self, tokens: Tensor, frame: FrameContext) -> Selection:
        self._check(tokens, frame)
        return Selection(self.selecting.chosen(tokens, frame))

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        kept = selection.kept
        assert kept is not None
        watch = self.selecting.watch if self.first.watches else None
        features, trace = self.running.compute_chosen(tokens, frame, kept, watch)
        self.selecting.passed(tokens, frame, trace)
        return features, trace

    def state(self) -> Iterable[Tensor]:
        yield from self.selecting.remembered()
        yield from self.running.state()

    @classmethod
    def resolve(cls, params: Params, arch: ViTArch) -> Params:
        for half, method in zip(cls.halves, (cls.first, cls.second), strict=True):
            params = half.into(params, method.resolve(half.of(params), arch))
        return params

    @classmethod
    def constant_on_repeats(cls, params: Params) -> bool:
        return cls.second.chosen_constant

    @classmethod
    def own_weights(cls, params: Params, arch: ViTArch) -> Mapping[str, str]:
        return {
            half.names[name]: digest
            for half, method in zip(cls.halves, (cls.first, cls.second), strict=True)
            for name, digest in method.own_weights(half.of(params), arch).items()
        }

    @classmethod
    def needs_heatmap(cls, params: Params) -> bool:
        return cls.first.needs_heatmap(cls.halves[0].of(params))

    @classmethod
    def pictured(cls, params: Params) -> Pictured | None:
        """Return what is chosen before any frame alone: no mask tells what a frame runs."""
        made = cls.first.pictured(cls.halves[0].of(params))
        return None if made is None else replace(made, frames=False)

    @classmethod
    def illustration(
        cls,
        params: Params,
        view: ClipView,
        position: int | None = None,
        boxes: Tensor | None = None,
    ) -> Mapping[str, Tensor] | None:
        own = cls.halves[0].of(params)
        return cls.first.illustration(own, view) if position is None else None

    @classmethod
    def plan(cls, params: Params, arch: ViTArch, view: ClipView) -> TokenTrace:
        first, second = (half.of(params) for half in cls.halves)
        entering: NDArray[np.int64] = cls.first.entering(first, view)
        return cls.second.plan_chosen(second, arch, view, entering)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: Params, trace: TokenTrace) -> Macs:
        first, second = (half.of(params) for half in cls.halves)
        choosing = cls.first.choosing_macs(arch, grid, first, trace)
        return choosing + cls.second.macs(arch, grid, second, trace, watched=cls.first.watches)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: Params) -> int:
        first, second = (half.of(params) for half in cls.halves)
        kept = cls.second.chosen_state_bytes(second, arch, grid)
        return cls.first.remembered_bytes(first, arch, grid) + kept


def why_not(first: type[Method[Any]], second: type[Method[Any]]) -> str | None:
    """Return why two methods make no combination; None where they do."""
    if issubclass(first, GatedMethod):
        return why_not_slotted(first, second)
    if not issubclass(first, SelectingMethod):
        return f"{first.name} does not choose tokens before a frame runs"
    if not issubclass(second, (ReducingMethod, GatedMethod)):
        return f"{second.name} cannot run tokens that another method chose"
    if first.watches and not second.watchable:
        return f"{first.name} watches the attention of whole blocks, and {second.name} shows none"
    return None


@cache
def combined(first: type[Method[Any]], second: type[Method[Any]]) -> type[Method[Any]]:
    """Return the method `first+second`, where `why_not` says nothing against it."""
    if issubclass(first, GatedMethod):
        return slotted(first, second)
    assert issubclass(first, SelectingMethod)
    assert issubclass(second, (ReducingMethod, GatedMethod))
    name = f"{first.name}{JOINT}{second.name}"
    params = joined(
        f"{first.__name__}{second.__name__}Params",
        first.params_type,
        second.params_type,
        prefix=prefix_of(second),
        without=first.own_execution,
    )
    chosen, knows = second.knows_chosen, first.knows
    own, other = params.halves
    told = {
        "name": name,
        "description": f"{first.name} chooses, and {second.name} runs what it chose",
        "paper": f"{first.paper}; {second.paper}",
        "revision": first.revision + second.revision - 1,
        "params_type": params,
        "halves": params.halves,
        "first": first,
        "second": second,
        "naming": (*own.called(first.naming), *other.called(second.naming)),
        "columns": {**own.headed(first.columns), **other.headed(second.columns)},
        "needs": first.needs | second.needs,
        "knows": chosen if knows is None else chosen & knows,
        "refuses": {**first.refuses, **second.refuses_chosen},
        "needs_truth": first.needs_truth,
        "role": first.role,
        "figure": second.figure,
        "__module__": __name__,
        "__doc__": Combination.__doc__,
    }
    kind: Any = type(Combination)
    return kind(name, (Combination,), told)


def prefix_of(second: type[Method[Any]]) -> str:
    """Return what precedes a parameter of the second half that the first has too."""
    return re.sub(r"\W", "_", second.name)
