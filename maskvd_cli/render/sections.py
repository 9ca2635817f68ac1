"""The analysis below a report's table as sections of text and tables, for formats to lay out."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.judge.kept_sets import Correlation, Overlap
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.paper_check import PaperCheck, grouped, paper_checks, tally, tolerances
from maskvd_cli.judge.rows import Report
from maskvd_cli.judge.savings import PARTS, Saving, savings, savings_legend
from maskvd_cli.judge.spread import SeedSpread, explained, sentences, spreads
from maskvd_cli.judge.verdicts import method_verdicts, rule, summary

# Rows of a table for people.
_MOST_PAIRS = 40


@dataclass(frozen=True)
class ReportSection:
    """A titled part of a report; what is empty is left out. All of it is plain text."""

    title: str
    lead: str
    headers: list[str]
    cells: list[list[str]]
    text: list[bool]
    """Which columns hold words."""
    lines: list[str]
    legend: str


def analysis(report: Report) -> list[ReportSection]:
    """Return verdict, spread, savings, kept sets, paper check, each only where it has content."""
    sections = [
        _verdict_section(report),
        _spread_section(report),
        _savings_section(report),
        kept_section(report),
        _check_section(report),
    ]
    return [section for section in sections if section is not None]


def _verdict_section(report: Report) -> ReportSection | None:
    sentence = summary(report)
    if sentence is None:
        return None
    verdicts = method_verdicts(report)
    return ReportSection(
        title="Verdict",
        lead=sentence,
        headers=[],
        cells=[],
        text=[],
        lines=[verdict.sentence for verdict in verdicts],
        legend=rule(report.legend) if verdicts else "",
    )


def _spread_section(report: Report) -> ReportSection | None:
    rows = spreads(report)
    if not rows:
        return None
    return ReportSection(
        title="Spread over seeds",
        lead="",
        headers=["point", "seeds", "value", "mean", "± std. dev.", "lowest", "highest"],
        cells=[_spread_cells(spread, report.legend) for spread in rows],
        text=[True, False, True, False, False, False, False],
        lines=list(sentences(report)),
        legend=explained(),
    )


def _spread_cells(spread: SeedSpread, legend: Legend) -> list[str]:
    values = (spread.mean, spread.deviation, spread.low, spread.high)
    numbers = (f"{value:.2f}" for value in values)
    return [spread.label, str(len(spread.seeds)), legend.header(spread.quantity), *numbers]


def _savings_section(report: Report) -> ReportSection | None:
    rows = savings(report)
    if not rows:
        return None
    saved = [f"{part} ms saved" for part in PARTS]
    best = {verdict.key for verdict in method_verdicts(report)} or {one.key for one in rows}
    return ReportSection(
        title="Where the speed-up went",
        lead="",
        headers=["point", "GMACs ratio", "backbone ratio", "frame ratio", *saved, "limited by"],
        cells=[_saving_cells(saving) for saving in rows],
        text=[True, *[False] * (3 + len(PARTS)), True],
        lines=[saving.sentence for saving in rows if saving.key in best],
        legend=savings_legend(report.legend),
    )


def _saving_cells(saving: Saving) -> list[str]:
    ratios = (saving.gmacs_ratio, saving.backbone_ratio, saving.frame_ratio)
    return [
        saving.label,
        *(f"{ratio:.2f}" for ratio in ratios),
        *(f"{saving.parts[part]:+.2f}" for part in PARTS),
        saving.limited_by or "",
    ]


def kept_section(report: Report) -> ReportSection | None:
    """Return the comparison of kept sets, None where it was not asked for."""
    found = report.kept_sets
    if found is None:
        return None
    shown, all_pairs = found.overlaps[:_MOST_PAIRS], len(found.overlaps)
    rest = f" Of {all_pairs} pairs the first {_MOST_PAIRS}; JSON has all." * (
        all_pairs > _MOST_PAIRS
    )
    return ReportSection(
        title="Kept sets",
        lead="",
        headers=["point", "and", "frames", "overlap %", "chance %", "beyond %", "difference"],
        cells=[_overlap_cells(report, overlap) for overlap in shown],
        text=[True, True, False, False, False, False, False],
        lines=[
            *(_correlated(report, one) for one in found.correlations),
            *(f"Left out: {line}." for line in found.left_out),
        ],
        legend="Overlap of the tokens that both points keep of the same frames, a mean over frames "
        "that neither computes whole: sum of the smaller over sum of the larger share of layers. "
        "Chance is that of sets of the same size that know nothing of each other; the difference "
        f"is one of {report.legend.quality}.{rest}",
    )


def _overlap_cells(report: Report, one: Overlap) -> list[str]:
    headline = report.legend.headline
    known = one.change is not None and headline is not None
    return [
        one.first,
        one.second,
        str(one.frames),
        *(f"{100 * share:.1f}" for share in (one.overlap, one.chance, one.beyond)),
        f"{one.change:+.2f}" if known else "",
    ]


def _correlated(report: Report, one: Correlation) -> str:
    rank = f"rank correlation {one.rank:+.2f}"
    if one.reference is None:
        return (
            f"Overlap beyond chance and the size of the difference in {report.legend.quality}: "
            f"{rank} over {one.points} pairs."
        )
    return (
        f"Overlap with {one.reference} and the change of {report.legend.quality}: {rank} over "
        f"{one.points} points."
    )


def _check_section(report: Report) -> ReportSection | None:
    checks = paper_checks(report)
    sentence = tally(checks)
    if sentence is None:
        return None
    compared = [check for check in checks if check.verdict != "not comparable"]
    return ReportSection(
        title="Paper check",
        lead=sentence,
        headers=["point", "value", "ours", "paper", "dev. %", "verdict", "reason"],
        cells=[_check_cells(check) for check in compared],
        text=[True, True, False, False, False, True, True],
        lines=[f"Not comparable: {line}" for line in grouped(checks)],
        legend=tolerances(report.legend) if compared else "",
    )


def _check_cells(check: PaperCheck) -> list[str]:
    numbers = (check.ours, check.theirs)
    deviation = check.deviation_percent
    return [
        check.label,
        check.quantity,
        *("" if number is None else f"{number:.2f}" for number in numbers),
        "" if deviation is None else f"{deviation:+.2f}",
        check.verdict,
        check.reason,
    ]
