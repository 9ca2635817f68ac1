"""Two runs compared: points paired, each metric judged, and what the reader must know of both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from maskvd_cli.compare.changes import (
    LATENCY,
    MEAN_MS,
    TIMES,
    Change,
    Compared,
    Limit,
    Verdict,
    exact_change,
    is_better,
    quantities_of,
)
from maskvd_cli.compare.conditions import Difference, differences, software_notes
from maskvd_cli.compare.headline_change import HeadlineComparison
from maskvd_cli.compare.latency_change import latency_changes, noise_floor
from maskvd_cli.compare.latency_samples import Sessions, timed
from maskvd_cli.compare.pairing import Pair, Side, paired, read_sides
from maskvd_cli.core.counts import COUNTS
from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.words import counted
from maskvd_cli.judge.legend import Legend
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan


@dataclass(frozen=True)
class OpenedRuns:
    """The old run A and the new run B with their points paired, and what else differs."""

    a: Run
    b: Run
    plans: tuple[Plan, Plan]
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]

    def forbidding(self, allowed: Collection[str]) -> list[Difference]:
        """Return the differences that forbid to compare, without the kinds that are allowed."""
        return [one for one in self.differences if one.kind and one.kind not in allowed]


@dataclass(frozen=True)
class Row:
    """A pair of points and what changed; without changes `state` says why."""

    pair: Pair
    state: str
    changes: tuple[Change, ...]

    @property
    def label(self) -> str:
        """The name of the point."""
        return self.pair.label


@dataclass(frozen=True)
class Comparison:
    """What changed from A to B. `notes`: what the reader must know; `damaged`: unreadable files."""

    opened: OpenedRuns
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    damaged: tuple[str, ...]

    def exceeding(self, limits: Sequence[Limit]) -> list[tuple[Row, Change, Limit]]:
        """Return the regressions beyond a limit."""
        return [
            (row, change, limit)
            for row in self.rows
            for change in row.changes
            for limit in limits
            if limit.is_exceeded(change)
        ]

    def unjudged(self, limit: Limit) -> int:
        """Return the number of points where a limit's metric has no interval or no comparison."""
        vague = (Verdict.NO_INTERVAL, Verdict.NOT_COMPARABLE)
        return sum(
            change.metric == limit.metric and change.verdict in vague
            for row in self.rows
            for change in row.changes
        )

    def has(self, metric: Compared) -> bool:
        """Tell whether any point has the metric in both runs."""
        return any(change.metric == metric for row in self.rows for change in row.changes)

    def newly_failed(self) -> list[Row]:
        """Return the points that were ok in A and failed in B."""
        return [row for row in self.rows if row.state == "failed in B"]


def open_pairs(a: Run, b: Run) -> OpenedRuns:
    """Read both runs and pair their points; raises ResultError where a plan is damaged."""
    plans = a.plan(), b.plan()
    pairs = paired(read_sides(a, plans[0]), read_sides(b, plans[1]))
    return OpenedRuns(a, b, plans, tuple(pairs), tuple(differences(pairs)))


def compare(opened: OpenedRuns, on_point: Callable[[str], None] = lambda label: None) -> Comparison:
    """Judge every metric of every pair. `on_point` hears of each before it is judged."""
    pairs = opened.pairs
    same_hardware = all(one.kind != "hardware" for one in opened.differences)
    judging = _Judging.of(opened, same_hardware)
    rows: list[Row] = []
    for pair in pairs:
        on_point(pair.label)
        changes: list[Change] = []
        state = _state(pair)
        if pair.a and pair.b and state == "both":
            changes = judging.changes(pair.a, pair.b)
        rows.append(Row(pair, state, tuple(changes)))
    damaged = [error for pair in pairs for side in (pair.a, pair.b) if side for error in _bad(side)]
    damaged += judging.damaged
    notes = (*_notes(opened, rows, same_hardware), *software_notes(pairs))
    texts = tuple(dict.fromkeys(map(str, damaged)))
    return Comparison(opened, tuple(rows), notes, texts)


def _bad(side: Side) -> list[ResultError]:
    return [*([side.damaged] if side.damaged else []), *side.passes.damaged]


def _state(pair: Pair) -> str:
    """Return `both`, or why there is nothing to compare."""
    if pair.b is None:
        return "only in A"
    if pair.a is None:
        return "only in B"
    for side, name in ((pair.a, "A"), (pair.b, "B")):
        if side.status != "ok":
            both = pair.a.status == pair.b.status
            return f"{side.status} in {'A and B' if both else name}"
    return "both"


@dataclass(frozen=True)
class _Judging:
    """What judges the values of a pair: the quantities of the plans, samples, stored outputs."""

    metrics: dict[str, Compared]
    sessions: tuple[Sessions, Sessions]
    headline: HeadlineComparison | None
    same_hardware: bool

    @classmethod
    def of(cls, opened: OpenedRuns, same_hardware: bool) -> _Judging:
        metrics, legend = quantities_of(opened.plans), Legend(opened.plans[1])
        own = legend.quantities.get(legend.headline or "")
        headline = None
        if own is not None and own.of != COUNTS:
            headline = HeadlineComparison(opened.a, opened.b, metrics[own.name], own.of)
        return cls(metrics, (Sessions(opened.a), Sessions(opened.b)), headline, same_hardware)

    @property
    def damaged(self) -> list[ResultError]:
        """Why samples and outputs could not be read."""
        own = self.headline.damaged if self.headline is not None else []
        return [*self.sessions[0].damaged, *self.sessions[1].damaged, *own]

    def changes(self, a: Side, b: Side) -> list[Change]:
        """Return the changes of a point in the order of the quantities."""
        samples = timed(a, self.sessions[0]), timed(b, self.sessions[1])
        changes = latency_changes(a, b, *samples, comparable=self.same_hardware)
        headline = self.headline.change(a, b) if self.headline is not None else None
        changes += [headline] if headline is not None else []
        judged = {metric.name for metric in TIMES} | {one.metric.name for one in changes}
        for name, metric in self.metrics.items():
            if name not in judged and (change := _plain_change(metric, a, b)) is not None:
                changes.append(change)
        order = list(self.metrics)
        return sorted(changes, key=lambda change: order.index(change.metric.name))


def _plain_change(metric: Compared, a: Side, b: Side) -> Change | None:
    """Return the change of a quantity by its stored values, None where a run has none."""
    old, new = (side.values.get(metric.name) for side in (a, b))
    if old is None or new is None:
        return None
    change = exact_change(metric, old.value, new.value)
    if metric.name == "peak_mib" and _way(a) != _way(b):
        basis = "measured in another way, or over other frames"
        return replace(change, verdict=Verdict.NOT_COMPARABLE, basis=basis)
    if not metric.noisy or old.value == new.value:
        return change
    ends = (old.low, old.high, new.low, new.high)
    if None in ends:
        return replace(change, verdict=Verdict.NO_INTERVAL, basis="stored values, no interval")
    apart = max(old.low or 0.0, new.low or 0.0) > min(old.high or 0.0, new.high or 0.0)
    better = is_better(metric, old.value, new.value)
    beyond = Verdict.IMPROVEMENT if better else Verdict.REGRESSION
    basis = "stored intervals and whether they overlap"
    return replace(change, verdict=beyond if apart else Verdict.NOISE, basis=basis)


def _way(side: Side) -> tuple[object, object]:
    """Return how memory was measured, and over how many frames."""
    details = side.details("memory")
    return (None, None) if details is None else (details.measured_by, details.frames)


def _notes(opened: OpenedRuns, rows: Sequence[Row], same_hardware: bool) -> list[str]:
    notes = [
        f"{'ALLOWED: ' if one.kind else ''}{_sentence(str(one))}" for one in opened.differences
    ]
    both = [(row.pair.a, row.pair.b) for row in rows if row.pair.a and row.pair.b]
    renamed = [1 for a, b in both if a.planned.key != b.planned.key]
    if renamed:
        notes.append(
            f"{counted(len(renamed), 'point')} {'has' if len(renamed) == 1 else 'have'} other keys "
            "in B than in A, paired by label, model and input; what differs in them stands above."
        )
    changes = [change for row in rows for change in row.changes]
    if any(change.metric == LATENCY for change in changes):
        notes += [_how_latency_is_judged(both, Legend(opened.plans[1]))] if same_hardware else []
    if not same_hardware and any(change.metric in (LATENCY, MEAN_MS) for change in changes):
        notes.append("Latency is not comparable: the runs were measured on different hardware.")
    if same_hardware:
        notes += list(_drift(rows))
    for name, latencies in (
        ("A", [a.latency for a, _ in both]),
        ("B", [b.latency for _, b in both]),
    ):
        causes = {text for latency in latencies if latency for text in latency.disturbances}
        if causes:
            notes.append(f"Latency of {name} was disturbed: {'; '.join(sorted(causes))}.")
    if any(a.latency and b.latency and a.latency.session == b.latency.session for a, b in both):
        notes.append("Some latencies are of the same session in both runs: taken over, not anew.")
    if any(a.protocol("latency") != b.protocol("latency") for a, b in both if a.latency):
        notes.append("Latency was measured with other rounds or frames in B than in A.")
    return notes


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _how_latency_is_judged(both: Sequence[tuple[Side, Side]], legend: Legend) -> str:
    pairs = [(a.latency, b.latency) for a, b in both]
    floor = max(noise_floor(a, b) for a, b in pairs if a and b)
    return (
        "Speed-ups decide on latency: time per frame / the session's own "
        f"{legend.baseline_name or 'baseline'}, since raw ms of "
        "two sessions also hold the machine's drift. Changes of up to "
        f"{100 * (floor - 1):.1f} %, what {legend.baseline} against itself showed (A/A), "
        "are noise."
    )


def _drift(rows: Sequence[Row]) -> list[str]:
    """Return a note where the baseline itself changed, which speed-ups cannot show."""
    notes: list[str] = []
    for row in rows:
        metrics = {change.metric: change for change in row.changes}
        raw = metrics.get(MEAN_MS)
        if raw is None or LATENCY in metrics or raw.verdict in (Verdict.SAME, Verdict.NOISE):
            continue
        if raw.verdict is Verdict.NO_INTERVAL:
            continue
        notes.append(
            f"{row.label}: raw times changed by {raw.percent:+.1f} %. The machine drifted, or what "
            "all methods share changed; speed-ups do not show which. --fail-on latency_ms:LIMIT% "
            "judges raw times."
        )
    return notes
