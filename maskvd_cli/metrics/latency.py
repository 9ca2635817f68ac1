"""Latency: points interleaved in rounds over the same frames, nothing else running beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import FAILURE, dropped
from maskvd_cli.metrics.statistics import SPEEDUP_ESTIMATOR, Spread, mean_ratio, stratum_weights
from maskvd_cli.recipe.section import Section
from maskvd_cli.store.piece import Piece

if TYPE_CHECKING:
    import pandas as pd

    from maskvd_cli.metrics.rounds import Rounds
    from maskvd_cli.metrics.session import Session

BASELINE, CONTROL = "baseline", "control"
PARTS = ("mask", "embed", "backbone", "head")
_BEGIN = "begin"
_WEIGHTED = "full frames weighted by their share of all the data's frames"


def _ms(name: str, header: str, meaning: str, spare: int) -> Quantity:
    return Quantity(name, header, "ms", 2, False, meaning, comparison="ratio", spare=spare)


class LatencySection(Section):
    """How latency is measured: rounds in which all points run over the same frames."""

    rounds: int = Field(default=5, ge=1, le=10_000, description="each over another clip, in turn")
    frames: int = Field(default=16, ge=1, le=1_000_000, description="first frames of the clip")
    warmup: int = Field(
        default=3, ge=2, le=10_000, description="frames of each point before the first round"
    )


class Latency(Metric):
    """Milliseconds per frame by part, and the speed-up over the baseline of the same session.

    Each round is a piece. A point that raises is dropped and the others go on; without the baseline
    and its control, which tells what chance alone does, the session ends.
    """

    name = "latency"
    description = "milliseconds per frame and the speed-up, all points interleaved in rounds"
    order: ClassVar[int] = 40
    estimator: ClassVar[int] = SPEEDUP_ESTIMATOR
    section: ClassVar[type[Section]] = LatencySection
    smoke: ClassVar[Mapping[str, Any]] = {"rounds": 1, "frames": 4, "warmup": 2}
    details: ClassVar[Mapping[str, str]] = {
        "session": "names its raw times; points of one session were measured interleaved",
        "rounds": "how many were run",
        "parts": "median, mean, p90 in ms and number of samples of `total`, `mask`, `embed`, "
        "`backbone`, `head`",
        "full": "the same of the total of full frames",
        "masked": "the same of the total of the others",
        "control": "the baseline against itself once more: what chance alone does",
        "disturbances": "what disturbed the session: throttling, other work, stolen time, "
        "swapping, standstill",
    }
    timed: ClassVar[bool] = True
    together: ClassVar[bool] = True
    quantities: ClassVar[tuple[Quantity, ...]] = (
        _ms("latency_ms", "latency ms", "median per timed frame, selection to detections", 3),
        _ms("latency_mean_ms", "mean ms", _WEIGHTED, 6),
        _ms("latency_p90_ms", "p90 ms", "90th percentile of the timed frames", 11),
        _ms("latency_full_ms", "full ms", "median of full frames alone", 10),
        _ms("latency_masked_ms", "masked ms", "median of the other frames alone", 10),
        _ms("mask_ms", "mask ms", f"choosing tokens ahead, mean, {_WEIGHTED}", 11),
        _ms("embed_ms", "embed ms", f"embedding patches, mean, {_WEIGHTED}", 12),
        _ms("backbone_ms", "backbone ms", f"mean, {_WEIGHTED}", 9),
        _ms("head_ms", "head ms", f"mean, {_WEIGHTED}", 11),
        Quantity(
            "speedup",
            "speed-up",
            "x",
            2,
            True,
            "mean of the baseline / mean, measured side by side, 95 % interval over rounds",
            comparison="ratio",
        ),
    )

    @classmethod
    def parts(cls, protocol: Mapping[str, Any], series: int) -> tuple[str, ...]:
        """Return the beginning and every round."""
        del series
        rounds = range(int(protocol["rounds"]))
        return (_BEGIN, *(f"round-{number:05d}" for number in rounds))

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return the time of all rounds and of warming up."""
        frames = int(protocol["rounds"]) * int(protocol["frames"]) + int(protocol["warmup"])
        return None if frame_seconds is None else frames * frame_seconds

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Warm all points up, then run the rounds that are not done yet."""
        _, *parts = self.parts(protocol, len(session.series))
        if set(parts) <= session.done:
            return
        from maskvd_cli.metrics.rounds import Rounds  # noqa: PLC0415 - reports need no torch

        if session.baseline is None:
            raise ValueError("latency needs the baseline beside every point")
        if _BEGIN not in session.done:
            facts = {"baseline": session.baseline, "full_share": dict(session.full_share)}
            yield Piece("", _BEGIN, facts=facts)
        rounds = Rounds.of(session, protocol)
        session.on_talk("warming up")
        rounds.warm_up(int(protocol["warmup"]))
        yield from _lost(rounds, session)
        for number, part in enumerate(parts):
            order = rounds.order()
            if not rounds.goes_on():
                return
            if part in session.done:
                continue
            session.on_talk(f"round {number + 1} of {len(parts)}")
            arrays, facts = rounds.run(number, order)
            yield from _lost(rounds, session)
            if rounds.goes_on():
                yield Piece("", part, arrays, facts)

    def samples(self, pieces: Iterable[Piece]) -> pd.DataFrame:
        """Return a row per point, round and frame: `is_full`, the parts' and the total `_ms`."""
        import numpy as np  # noqa: PLC0415
        import pandas as pd  # noqa: PLC0415

        tables: list[pd.DataFrame] = []
        for piece in pieces:
            if "series" in piece.arrays:
                table = pd.DataFrame(dict(piece.arrays))
                names = np.array(piece.facts["series"], dtype=object)
                table["series"] = names[piece.arrays["series"]]
                table.insert(1, "round", piece.facts["round"])
                table.insert(2, "clip", piece.facts["clip"])
                tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return the parts' times and the speed-up of every point that ran to the end."""
        del protocol
        kept = list(pieces)
        begin = next((piece.facts for piece in kept if piece.part == _BEGIN), None)
        lost = {piece.key for piece in kept if FAILURE in piece.facts}
        samples = self.samples(kept)
        if begin is None or samples.empty or begin["baseline"] in lost:
            return
        told = {"disturbances": _disturbances(kept), "rounds": int(samples["round"].nunique())}
        for key in keys:
            name = BASELINE if key == begin["baseline"] else key
            if key in lost or name not in set(samples["series"]):
                continue
            values, details = times_of(samples, name, begin["full_share"].get(key))
            yield Finding(key, values, {**details, **told})


def _lost(rounds: Rounds, session: Session) -> Iterator[Piece]:
    """Yield why points were dropped since the last time; the control is the baseline once more."""
    numbers = {key: number for number, key in enumerate(session.series)}
    for name, error in rounds.lost_now():
        key = session.baseline if name in (BASELINE, CONTROL) else name
        assert key is not None
        yield dropped(key, f"dropped-{numbers.get(key, len(numbers)):05d}", error)


def _disturbances(pieces: Sequence[Piece]) -> list[str]:
    """Return what disturbed; each process told all since its own beginning, `since`."""
    last = {piece.facts["since"]: piece.facts for piece in pieces if "since" in piece.facts}
    return list(dict.fromkeys(text for facts in last.values() for text in facts["disturbances"]))


def times_of(
    samples: pd.DataFrame, series: str, full_share: float | None
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Summarise one series of a session beside its baseline and control, as values and details.

    `full_share`: of full frames in all of the data, for what stands for all of it. Where a kind of
    frame was not timed, there is no speed-up and no mean.
    """

    def of(name: str) -> pd.DataFrame:
        return samples[samples["series"] == name].sort_values(["round", "frame"])

    own, first, second = of(series), of(BASELINE), of(CONTROL)
    full = own["is_full"].to_numpy()
    total = own["total_ms"].to_numpy()
    spreads = {part: Spread.of(own[f"{part}_ms"].to_numpy()) for part in ("total", *PARTS)}
    kinds = {"full": Spread.of(total[full]), "masked": Spread.of(total[~full])}
    control = mean_ratio(first["total_ms"], second["total_ms"], rounds=second["round"])
    whole = spreads["total"]
    assert whole is not None
    known: dict[str, Estimate | float | None] = {
        "latency_ms": whole.median,
        "latency_p90_ms": whole.p90,
        **{f"latency_{kind}_ms": None if s is None else s.median for kind, s in kinds.items()},
        "speedup": Estimate(1.0)
        if series == BASELINE
        else mean_ratio(
            first["total_ms"], total, rounds=own["round"], full=full, full_share=full_share
        ),
    }
    # Without weights nothing here stands for all of the data: a kind of frame was not timed.
    weights = stratum_weights(full, full_share)
    if weights is not None:
        known["latency_mean_ms"] = float(weights @ total)
        known |= {f"{part}_ms": float(weights @ own[f"{part}_ms"].to_numpy()) for part in PARTS}
    values: dict[str, Estimate] = {
        name: value if isinstance(value, Estimate) else Estimate(value)
        for name, value in known.items()
        if value is not None
    }
    details = {
        "parts": {part: asdict(spread) for part, spread in spreads.items() if spread is not None},
        **{kind: None if spread is None else asdict(spread) for kind, spread in kinds.items()},
        "control": None if control is None else asdict(control),
    }
    return values, details
