"""Metric plug-in: how many parameters the model has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import Session
from maskvd_cli.store.piece import Piece


class Parameters(Metric):
    """Counts the model's parameters, in thousands; the same for all methods."""

    name = "parameters"
    description = "thousands of parameters"
    by_default = False
    quantities = (
        Quantity(
            "parameters_k", "parameters k", "1e3", 2, False, "parameters: thousands of the model"
        ),
    )

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        count = sum(parameter.numel() for parameter in session.model.parameters())
        for key in session.series:
            yield Piece(key, "count", facts={"parameters": count})

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        for piece in pieces:
            if piece.key in keys:
                value = piece.facts["parameters"] / 1e3
                yield Finding(piece.key, {"parameters_k": Estimate(value)})
