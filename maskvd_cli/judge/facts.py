"""What stands below a table: where its numbers come from, and notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from maskvd_cli.core.words import counted
from maskvd_cli.judge.legend import capitalised
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.judge.rows import Report
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what a reader must know to judge or repeat the table, in order."""
    plan = report.plan

    def each(of: Callable[[dict[str, Any]], str]) -> str:
        return "; ".join(dict.fromkeys(of(environment) for environment in report.environments))

    pairs = [("recipe", f"{plan.recipe} ({plan.description})" if plan.description else plan.recipe)]
    if report.setting:
        pairs += list(_setting_facts(report))
    pairs += [
        ("masks from", f"{plan.detections}: {plan.detections_reason}"),
        ("command", each(lambda environment: str(environment.get("command")))),
        ("date", plan.created),
        ("machine", each(_machine)),
        ("software", each(_software)),
        ("run", report.run.folder.name),
    ]
    return pairs


def _setting_facts(report: Report) -> list[tuple[str, str]]:
    dataset = report.setting["dataset"]
    done = report.rows[report.rows["status"] == "ok"]
    inputs = ", ".join(report.rows["input"].dropna().unique())
    extent = ""
    if stated := dataset.get("statistics"):
        extent = f", {_extent(stated)} as stated, nothing was read"
    elif not done.empty:
        extent = f", {_extent(done.iloc[0])}"
    stride = dataset.get("frame_stride")
    sampled = f", one frame in {stride}" if stride else ""
    protocol = f"protocol {dataset['protocol']}{sampled}"
    return [
        ("dataset", f"{dataset['name']} {dataset['split']}, {protocol}{extent}"),
        *(fact for one in report.settings.items() for fact in _model_facts(*one, inputs)),
        ("seed", str(report.setting["seed"])),
    ]


def _extent(counts: Any) -> str:
    return f"{_plural(counts['clips'], 'clip')}, {_plural(counts['frames'], 'frame')}"


def _plural(number: Any, noun: str) -> str:
    """Return the number as tables have it, without commas, and its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _model_facts(called: str, setting: dict[str, Any], inputs: str) -> list[tuple[str, str]]:
    model = setting["model"]
    kind = model["backbone"] if called == model["name"] else f"{model['name']}, {model['backbone']}"
    text = f"{called} ({kind}), input {inputs}, frame {model['frame']} (rows x columns)"
    return [("model", text), *_measured_facts(setting)]


def _measured_facts(setting: dict[str, Any]) -> list[tuple[str, str]]:
    measured: dict[str, Any] | None = setting.get("measured")
    if not measured:
        return []
    weights = str(measured["weights"])
    weights = weights if weights == RANDOM_WEIGHTS else f"sha256 {weights[:12]}"
    pixels = ", frames of noise" if measured.get("pixels") == "noise" else ""
    cut = ", boxes cut at the frame" if measured.get("clip_boxes") else ""
    return [("measured", f"weights {weights}, {measured['precision']}{pixels}{cut}")]


def _machine(environment: dict[str, Any]) -> str:
    memory = environment.get("memory_gib")
    text = f"{environment.get('processor')}, {environment.get('cores')} cores"
    text = f"{text}, {memory} GiB" if memory else text
    if environment.get("gpu"):
        text += f", {environment['gpu']} ({environment.get('gpu_memory_gib')} GiB)"
    elif environment.get("device") == "cpu":
        text += f", {environment.get('threads')} threads of torch"
    return text


def _software(environment: dict[str, Any]) -> str:
    found = environment.get("packages")
    packages = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    text = f"maskvd {environment.get('tool_version')}"
    if environment.get("git"):
        text += f" (git {environment['git']})"
    return f"{text}, Python {environment.get('python')}, torch {packages.get('torch')}"


def closing_notes(report: Report) -> list[str]:
    """Return the notes below the table: unfinished or failed points first."""
    return [*warnings(report), *remarks(report)]


def warnings(report: Report) -> list[str]:
    """Return what speaks against the table: a part of the data or points, disturbed times."""
    notes: list[str] = []
    if subset := subset_text(report.setting):
        notes.append(f"SUBSET ({subset}): not the whole data; compare with nothing else.")
    total = counted(len(report.rows), "point")
    if pending := report.count("pending"):
        notes.append(
            f"{pending} of {total} {_has(pending)} not been run yet; the same sweep command "
            "goes on with them."
        )
    if failed := report.count("failed"):
        notes.append(f"{failed} of {total} failed; their reasons stand in the table.")
    ran = report.count("ok")
    for of, missing in report.missing.items():
        notes.append(
            f"{missing} of {counted(ran, 'point')} that ran {_has(missing)} no {of} yet; the same "
            "sweep command goes on with it."
        )
    return [*notes, *report.disturbed]


def remarks(report: Report) -> list[str]:
    """Return what was not measured, how the rest was, and what papers and readers remark."""
    return [*_unmeasured(report), *report.notes]


def _unmeasured(report: Report) -> list[str]:
    """Return what was not measured, and how the rest was."""
    measure, legend, rows = report.plan.measure, report.legend, report.rows
    headline = legend.quantities.get(legend.headline or "")
    unknown = headline is None or rows[headline.name].isna().all()
    if measure is None:
        if unknown:
            return [
                f"Planned without the model: {legend.quality}, latency and peak memory are not "
                "measured and stay empty."
            ]
        return []
    notes: list[str] = []
    if headline is not None and headline.of not in measure["metrics"]:
        notes.append(f"{capitalised(headline.of)} was not measured: {headline.header} stays empty.")
    if rows["peak_measured_by"].eq("cpu-allocations").any():
        notes.append(
            "Peak memory on the CPU is the sum of allocations that torch's profiler saw, with the "
            "weights; Python and libraries are not in it."
        )
    notes += _one_sided(report)
    failed = int((rows["status"].eq("ok") & rows["error"].notna()).sum())
    if failed:
        points = counted(failed, "point")
        notes.append(f"{points} could not be measured wholly; see the reasons.")
    return notes


def _one_sided(report: Report) -> list[str]:
    """Return the note on means of the timed frames where a kind of frame was not timed."""
    rows = report.rows
    kinds = rows["latency_full_ms"].notna(), rows["latency_masked_ms"].notna()
    has_both = rows["full_frame_share"].gt(0) & rows["full_frame_share"].lt(1)
    missing = rows["latency_mean_ms"].notna() & has_both & (kinds[0] != kinds[1])
    if not (number := int(missing.sum())):
        return []
    return [
        f"Of {counted(number, 'point')} only full frames, or only others, were timed: "
        f"{report.legend.header('latency_mean_ms')} is the plain mean of the timed frames there, "
        "not that of all the data (time more: latency.frames)."
    ]


def _has(number: int) -> str:
    return "has" if number == 1 else "have"
