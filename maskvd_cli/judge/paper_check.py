"""Whether a run reproduces what a paper prints, value by value, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.judge.published import Match
from maskvd_cli.judge.rows import Report
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS

VerdictName = Literal["reproduced", "not reproduced", "not comparable"]

# Masks that are planned from annotated boxes land within 3 % of the published token counts, and
# GMACs follow them linearly or, without windows, at most quadratically.
TOKENS_PERCENT = 3.0
GMACS_PERCENT = 3.0
# Keep rates are printed with two digits, which alone is worth 2.5 % at 0.2.
KEEP_RATE_PERCENT = 5.0
# Every video costs the same, in closed form; values are printed with two or three digits.
TMACS_PERCENT = 0.5
# One model trained twice differs by some tenths of a point.
HEADLINE_POINTS = 0.5
# On one kind of GPU drivers, clocks and libraries move latency by some percent, peaks by less.
LATENCY_PERCENT = 10.0
PEAK_PERCENT = 5.0


@dataclass(frozen=True)
class PaperCheck:
    """One value of one point beside the published one. Units are those of the report's rows."""

    key: str
    """The point's key in the report's rows."""
    label: str
    """What sentences call it."""
    paper: str
    table: str
    quantity: str
    """tokens, keep rate, GMACs, the headline, latency ms or peak MiB."""
    ours: float | None
    theirs: float | None
    deviation_percent: float | None
    """100 (ours / theirs - 1), on other data too, where both are known."""
    verdict: VerdictName
    reason: str
    """The tolerance that decided, or what is not comparable; published slips are named."""


@dataclass(frozen=True)
class _Printed:
    """One column of a published table. `timed`: depends on hardware, precision and proposals.

    `each`: the same of every video, however many there are.
    """

    name: str
    published: str
    source: str
    tolerance: float
    in_points: bool = False
    timed: bool = False
    each: bool = False

    def within(self, ours: float, theirs: float) -> bool:
        apart = abs(ours - theirs) if self.in_points else 100 * abs(ours / theirs - 1)
        return apart <= self.tolerance

    @property
    def allowed(self) -> str:
        return f"{self.tolerance:g} {'points' if self.in_points else '%'}"


_COUNTED = (
    _Printed("tokens", "tokens", "tokens", TOKENS_PERCENT),
    _Printed("keep rate", "keep_rate", "keep_rate", KEEP_RATE_PERCENT),
    _Printed("GMACs", "gmacs", "gmacs_published", GMACS_PERCENT),
)
_OF_VIDEOS = _Printed("TMACs/video", "tmacs_video", "tmacs_video", TMACS_PERCENT, each=True)
_MEASURED = (
    _Printed("latency ms", "latency_ms", "latency_mean_ms", LATENCY_PERCENT, timed=True),
    _Printed("peak MiB", "peak_mib", "peak_mib", PEAK_PERCENT, timed=True),
)
_CUDA_PEAK = "cuda-max-allocated"


def _printed(legend: Legend) -> tuple[_Printed, ...]:
    """Return the columns of published tables, the plan's headline among them."""
    counted = _COUNTED
    if _OF_VIDEOS.source in legend.quantities:
        counted = (*_COUNTED, _OF_VIDEOS)
    name = legend.headline
    if name is None:
        return counted + _MEASURED
    headline = _Printed(legend.quality, name, name, HEADLINE_POINTS, in_points=True)
    return (*counted, headline, *_MEASURED)


def tolerances(legend: Legend) -> str:
    """Return what reproduced means."""
    allowed = ", ".join(f"{printed.allowed} ({printed.name})" for printed in _printed(legend))
    return (
        f"Reproduced means within {allowed} of the published value. GMACs are compared under the "
        "paper's own counter."
    )


@dataclass(frozen=True)
class _Point:
    """One row, its published row, and what else decides whether the two can be compared."""

    row: dict[Any, Any]
    label: str
    match: Match
    setting: dict[str, Any]
    gpus: frozenset[str]
    planned: bool

    def ours(self, quantity: _Printed) -> float | None:
        """Return our value; GMACs as the paper evaluated its counter."""
        at_mean = quantity.name == "GMACs" and self.at_mean_tokens
        value = self.row["gmacs_published_at_mean_tokens" if at_mean else quantity.source]
        return None if value is None else float(value)

    def theirs(self, quantity: _Printed) -> float | None:
        """Return the published value."""
        return self.match.row.values.get(quantity.published)

    @property
    def at_mean_tokens(self) -> bool:
        return self.match.table.gmacs_evaluated == "at-mean-tokens"

    @property
    def random_weights(self) -> bool:
        measured: dict[str, Any] = self.setting.get("measured") or {}
        return measured.get("weights") == RANDOM_WEIGHTS


def paper_checks(report: Report) -> tuple[PaperCheck, ...]:
    """Return a check of each value that a published row gives or this run has, in row order.

    Points without a published row have none. Values of further rows of a paper follow those of its
    first one, the same value once. Left out are values that neither side knows, and the keep rate
    where the paper prints tokens.
    """
    printed = _printed(report.legend)
    return tuple(check for point in _points(report) for check in _checks(point, printed))


def _checks(point: _Point, printed: Sequence[_Printed]) -> Iterator[PaperCheck]:
    for quantity in printed:
        seen: set[float | None] = set()
        for match in (point.match, *point.match.beside):
            answer = replace(point, match=match)
            theirs = answer.theirs(quantity)
            if seen and (theirs is None or theirs in seen):
                continue
            seen.add(theirs)
            if _worth_checking(answer, quantity):
                yield _check(answer, quantity)
    for match in (point.match, *point.match.beside):
        yield from _elsewhere(replace(point, match=match))


def _elsewhere(point: _Point) -> Iterator[PaperCheck]:
    """Yield what else the paper prints of a point."""
    for other in point.match.row.elsewhere:
        yield PaperCheck(
            key=point.row["key"],
            label=point.label,
            paper=point.match.paper,
            table=other.table or point.match.table.table,
            quantity=other.of,
            ours=None,
            theirs=other.value,
            deviation_percent=None,
            verdict="not comparable",
            reason=other.why,
        )


def _points(report: Report) -> Iterator[_Point]:
    rows = report.records()
    gpus = frozenset(str(environment.get("gpu") or "") for environment in report.environments)
    for row, label in zip(rows, report.names, strict=True):
        match = report.published.get(str(row["key"]))
        if match is not None and row["status"] == "ok":
            setting = report.settings.get(str(row["model"]), {})
            yield _Point(row, label, match, setting, gpus, planned=report.plan.measure is None)


def _worth_checking(point: _Point, quantity: _Printed) -> bool:
    ours, theirs = point.ours(quantity), point.theirs(quantity)
    if point.match.table.incomparable is not None:
        return theirs is not None
    if quantity.name == "keep rate":
        return theirs is not None and "tokens" not in point.match.row.values
    if quantity.name in ("tokens", "GMACs") and _OF_VIDEOS.published in point.match.row.values:
        # What is printed of a whole video is not printed of its frames.
        return False
    return ours is not None or theirs is not None


def _check(point: _Point, quantity: _Printed) -> PaperCheck:
    ours, theirs = point.ours(quantity), point.theirs(quantity)
    verdict: VerdictName = "not comparable"
    deviation = None if ours is None or not theirs else 100 * (ours / theirs - 1)
    if ours is None:
        reason = _unknown(point, quantity)
    elif theirs is None:
        reason = "withheld: the paper does not print it for this row"
    elif obstacle := _obstacle(point, quantity):
        reason = obstacle
    elif quantity.within(ours, theirs):
        verdict, reason = "reproduced", f"within {quantity.allowed}"
    else:
        verdict, reason = "not reproduced", f"beyond {quantity.allowed}"
    slips = [slip.text for slip in point.match.row.slips if slip.of == quantity.published]
    return PaperCheck(
        key=point.row["key"],
        label=point.label,
        paper=point.match.paper,
        table=point.match.table.table,
        quantity=quantity.name,
        ours=ours,
        theirs=theirs,
        deviation_percent=deviation,
        verdict=verdict,
        reason="; ".join([reason, *(f"published slip: {slip}" for slip in slips)]),
    )


def _unknown(point: _Point, quantity: _Printed) -> str:
    """Return why this run has no such value."""
    if quantity.name == "GMACs" and point.at_mean_tokens:
        return (
            "other counter: the paper evaluates its own once, at the mean token count, and here "
            "more than that count decides"
        )
    if quantity.each:
        return "not known without the number of classes"
    if point.planned:
        return "planned, so that nothing was measured"
    if quantity.in_points and point.random_weights:
        return "random weights know nothing"
    return "not measured"


def _obstacle(point: _Point, quantity: _Printed) -> str | None:
    """Return why two known values cannot be compared, None where they can."""
    if subset := subset_text(point.setting):
        return f"SUBSET ({subset})"
    difference = point.match.video_difference if quantity.each else point.match.difference
    if difference:
        return difference
    if point.match.withheld:
        return f"withheld: {point.match.withheld}"
    return _otherwise_measured(point, quantity) if quantity.timed else None


def _otherwise_measured(point: _Point, quantity: _Printed) -> str | None:
    row, theirs = point.row, point.match.hardware
    if theirs is None:
        return "the paper does not say what it was measured on"
    on_cpu = row["device"] == "cpu"
    if on_cpu or not all(theirs in gpu for gpu in point.gpus):
        ours = "a CPU" if on_cpu else " and ".join(sorted(point.gpus - {""})) or "not told"
        return f"other hardware: {ours}, not {theirs}"
    if row["precision"] not in (None, "float32"):
        return f"other precision: {row['precision']}, not float32"
    if quantity.name == "peak MiB" and row["peak_measured_by"] != _CUDA_PEAK:
        return f"other counter: {row['peak_measured_by']}, not {_CUDA_PEAK}"
    if point.random_weights:
        return "random weights: other proposals than those of the paper's model"
    return None


def grouped(checks: tuple[PaperCheck, ...]) -> list[str]:
    """Return the checks that are not comparable, one line per quantity and reason."""
    other = Counter((c.quantity, c.reason) for c in checks if c.verdict == "not comparable")
    return [
        f"{quantity} of {_of_points(count)}: {reason}."
        for (quantity, reason), count in other.items()
    ]


def tally(checks: tuple[PaperCheck, ...]) -> str | None:
    """Return in one sentence how many values are reproduced; None where no row is published."""
    if not checks:
        return None
    counts = Counter(check.verdict for check in checks)
    done, missed = counts["reproduced"], counts["not reproduced"]
    if not done + missed:
        return f"None of {len(checks)} values is comparable with {_sources(checks)}."
    text = f"{done} of {done + missed} comparable values of {_sources(checks)} are reproduced"
    failed = Counter(c.quantity for c in checks if c.verdict == "not reproduced")
    not_reproduced = ", ".join(f"{name} of {_of_points(count)}" for name, count in failed.items())
    text += f"; not: {not_reproduced}" if failed else ""
    other = counts["not comparable"]
    return f"{text}; {other} more are not comparable." if other else f"{text}."


def _sources(checks: tuple[PaperCheck, ...]) -> str:
    tables: dict[str, dict[str, None]] = {}
    for check in checks:
        tables.setdefault(check.paper, {})[check.table] = None
    return " and ".join(f"{paper}, {_listed(names)}" for paper, names in tables.items())


def _listed(names: Iterable[str]) -> str:
    """Return names in a row; names with commas of their own are parted by semicolons."""
    names = list(names)
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _of_points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"
