"""What one setting gave over several seeds: points that differ in nothing else, taken together."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from maskvd_cli.judge.rows import Report

# The parameter from which a method draws what chance decides.
SEED = "seed"
_COUNTS = ("tokens", "gmacs")


@dataclass(frozen=True)
class SeedSpread:
    """One quantity of one setting over its seeds.

    `deviation`: of the sample, with n - 1 in the denominator.
    """

    label: str
    """What sentences call the setting: its points' name without the seed."""
    keys: tuple[str, ...]
    seeds: tuple[int, ...]
    quantity: str
    mean: float
    deviation: float
    low: float
    high: float


def spreads(report: Report) -> tuple[SeedSpread, ...]:
    """Return tokens, GMACs and headline of every setting that ran with several seeds.

    Points that failed, or lack a quantity, are no part of it; what fewer than two points have, has
    no spread.
    """
    headline = report.legend.headline
    names = (*_COUNTS, *([headline] if headline else []))
    found = (_spread(label, rows, name) for label, rows in _settings(report) for name in names)
    return tuple(spread for spread in found if spread is not None)


def sentences(report: Report) -> tuple[str, ...]:
    """Return the spread of the headline of each setting in words."""
    legend = report.legend
    return tuple(
        f"{one.label}: {legend.quality} {legend.text(one.quantity, one.mean)} ± "
        f"{legend.text(one.quantity, one.deviation)}, from {legend.text(one.quantity, one.low)} "
        f"to {legend.text(one.quantity, one.high)} over {len(one.seeds)} seeds"
        for one in spreads(report)
        if one.quantity == legend.headline
    )


def explained() -> str:
    """Return what stands below the table."""
    return (
        "Mean ± standard deviation (n - 1) over the seeds of one setting: what chance alone "
        "decides, on the same frames. Verdicts and fronts take each seed as a point of its own, "
        "also the luckiest."
    )


def _settings(report: Report) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the points of each setting that has several seeds, in the order of the report."""
    groups: dict[str, list[dict[str, Any]]] = {}
    labels: dict[str, str] = {}
    for row, name in zip(report.records(), report.names, strict=True):
        params: dict[str, Any] = json.loads(row["params"])
        seed = params.pop(SEED, None)
        if row["status"] != "ok" or not isinstance(seed, int):
            continue
        setting = json.dumps([row["method"], row["model"], row["input"], params], sort_keys=True)
        groups.setdefault(setting, []).append({**row, SEED: seed})
        words = (word for word in name.split(" ") if not word.startswith(f"{SEED}="))
        labels.setdefault(setting, " ".join(words))
    for setting, points in groups.items():
        if len({point[SEED] for point in points}) > 1:
            yield labels[setting], points


def _spread(label: str, points: Sequence[dict[str, Any]], name: str) -> SeedSpread | None:
    known = [point for point in points if point.get(name) is not None]
    if len(known) < 2:
        return None
    values = [float(point[name]) for point in known]
    return SeedSpread(
        label,
        tuple(str(point["key"]) for point in known),
        tuple(int(point[SEED]) for point in known),
        name,
        statistics.fmean(values),
        statistics.stdev(values),
        min(values),
        max(values),
    )
