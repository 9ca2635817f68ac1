"""The columns of a report's rows: always the same for the same quantities, new ones after them."""

from __future__ import annotations

from collections.abc import Iterator

from maskvd_cli.core.counts import COUNTS
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.parameters import column_of

_BEFORE = (
    "method", "version", "backbone", "period", "static_keep_rate", "tokens", "keep_rate",
    "keep_rate_real", "full_frame_share", "gmacs", "gmacs_published", "state_mb", "paper_tokens",
    "paper_gmacs",
)  # fmt: skip
_PAPERS = ("paper_latency_ms", "paper_peak_mib")
_MIDDLE = (
    "paper", "paper_table", "paper_same_data",
    "clips", "frames", "dataset", "split", "protocol", "model", "input", "detections", "seed",
    "recipe", "run", "label", "key", "status", "error",
    "gmacs_detector", "r", "update", "pool", "param_keep_rate", "params",
    "paper_gmacs_evaluated",
)  # fmt: skip
_LATENCY = (
    "latency_mean_ms", "latency_p90_ms", "latency_full_ms", "latency_masked_ms", "mask_ms",
    "embed_ms", "backbone_ms", "head_ms", "speedup", "speedup_low", "speedup_high",
    "latency_session", "peak_measured_by", "device", "precision", "subset", "energy_mj",
)  # fmt: skip
# What speaks against a row beside the others.
STATISTICS, CONDITIONS = "older_statistics", "other_conditions"
WHOLE = ("period", "margin", "clips", "frames", "seed", "r", "pool")


def columns_of(legend: Legend) -> list[str]:
    """Return the columns of a plan's rows in order.

    Users and papers read those of today's quantities by name and place; what else the plan's
    quantities and methods bring stands behind them.
    """
    columns = [
        *_BEFORE, *_headline(legend), "latency_ms", "peak_mib",
        "mask", "score_threshold", "margin",
        "gmacs_published_at_mean_tokens", "gmacs_at_paper_tokens",
        "tokens_deviation_percent", "gmacs_deviation_percent",
        "paper_keep_rate", *(f"paper_{name}" for name in _headline(legend)), *_PAPERS, *_MIDDLE,
        *_scores(legend), *_LATENCY, "on_front", "dominated_by", STATISTICS, CONDITIONS,
        *legend.quantities, *_of_videos(legend), *map(column_of, legend.parameter_headers),
    ]  # fmt: skip
    return list(dict.fromkeys(columns))


def _of_videos(legend: Legend) -> Iterator[str]:
    """Yield what papers print of a whole video's cost, where there are such points."""
    if "tmacs_video" in legend.quantities:
        yield from ("paper_tmacs_video", "tmacs_video_deviation_percent")


def _headline(legend: Legend) -> Iterator[str]:
    if legend.headline is not None:
        yield legend.headline


def _scores(legend: Legend) -> Iterator[str]:
    """Yield what else the headline's own metric scores, and the change of the headline."""
    own = legend.quantities.get(legend.headline or "")
    if own is not None and own.of != COUNTS:
        for name, quantity in legend.quantities.items():
            if quantity.of == own.of and name not in (legend.headline, legend.change):
                yield name
    if legend.change is not None:
        yield from (legend.change, f"{legend.change}_low", f"{legend.change}_high")
