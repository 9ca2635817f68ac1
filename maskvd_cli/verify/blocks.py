"""What leaves each block of a backbone, seen while a method runs it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.methods.base import Method
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.gates import Layer, TokenGate


class BlockOutputs:
    """Watches a method on a backbone without final norm, from just after `reset` on.

    What enters a block is noted before its first norm, and where a gate stands before that norm,
    which then sees changed rows alone, at the gate.
    """

    def __init__(self, method: Method[Any]) -> None:
        self._entered: dict[int, Tensor] = {}
        blocks = method.backbone.blocks
        self._blocks = range(1, len(blocks))
        for number in self._blocks:
            if isinstance(method, GatedMethod) and method.params.gate == "before_ln":
                gated: GatedMethod[Any] = method
                gate = _WatchedGate(self._entered, number, gated)
                gated.gates[f"blocks.{number}.qkv"] = gate
            else:
                blocks[number].norm1.register_forward_pre_hook(self._noting(number))

    def all(self, features: Tensor) -> Tensor:
        """Return what left each block (depth, n, D) where `features` (n, D) left the last one."""
        return torch.stack([*(self._entered[number] for number in self._blocks), features])

    def _noting(self, number: int) -> Any:
        def note(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            del norm
            self._entered[number] = arguments[0][0].clone()

        return note


class _WatchedGate(TokenGate):
    """Notes what it is asked."""

    def __init__(self, entered: dict[int, Tensor], number: int, method: GatedMethod[Any]) -> None:
        super().__init__(method.params, forgets=method.forgets)
        self._entered, self._number = entered, number

    def __call__(
        self, tokens: Tensor, layer: Layer, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        self._entered[self._number] = tokens[0].clone()
        return super().__call__(tokens, layer, among)
