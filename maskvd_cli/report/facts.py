"""What stands below a table: where its numbers come from, and notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from maskvd_cli.report.rows import Report


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what a reader must know to judge or repeat the table, in order."""
    plan = report.plan

    def each(of: Callable[[dict[str, Any]], str]) -> str:
        return "; ".join(dict.fromkeys(of(environment) for environment in report.environments))

    found = [("recipe", f"{plan.recipe} ({plan.description})" if plan.description else plan.recipe)]
    if report.setting:
        found += list(_setting_facts(report))
    found += [
        ("masks from", f"{plan.detections}: {plan.detections_reason}"),
        ("command", each(lambda environment: str(environment.get("command")))),
        ("date", plan.created),
        ("machine", each(_machine)),
        ("software", each(_software)),
        ("run", report.run.folder.name),
    ]
    return found


def _setting_facts(report: Report) -> list[tuple[str, str]]:
    dataset, model = report.setting["dataset"], report.setting["model"]
    done = report.rows[report.rows["status"] == "ok"]
    inputs = ", ".join(report.rows["input"].dropna().unique())
    extent = ""
    if stated := dataset.get("statistics"):
        extent = f", {stated['clips']} clips, {stated['frames']} frames as stated, nothing was read"
    elif not done.empty:
        extent = f", {done.iloc[0]['clips']} clips, {done.iloc[0]['frames']} frames"
    return [
        (
            "dataset",
            f"{dataset['name']} {dataset['split']}, protocol {dataset['protocol']}{extent}",
        ),
        (
            "model",
            f"{model['name']} ({model['backbone']}), input {inputs}, "
            f"frame {model['frame']} (rows x columns)",
        ),
        ("seed", str(report.setting["seed"])),
    ]


def _machine(environment: dict[str, Any]) -> str:
    memory = environment.get("memory_gib")
    text = f"{environment.get('processor')}, {environment.get('cores')} cores"
    return f"{text}, {memory} GiB" if memory else text


def _software(environment: dict[str, Any]) -> str:
    found = environment.get("packages")
    packages = cast(dict[str, Any], found) if isinstance(found, dict) else {}
    text = f"maskvd {environment.get('tool_version')}"
    if environment.get("git"):
        text += f" (git {environment['git']})"
    return f"{text}, Python {environment.get('python')}, torch {packages.get('torch')}"


def closing_notes(report: Report) -> list[str]:
    """Return the notes below the table: unfinished or failed points first."""
    notes: list[str] = []
    if pending := report.count("pending"):
        notes.append(
            f"{pending} of {len(report.rows)} points have not been run yet; the same sweep command "
            "goes on with them."
        )
    if failed := report.count("failed"):
        notes.append(
            f"{failed} of {len(report.rows)} points failed; their reasons stand in the table."
        )
    if report.rows["map50"].isna().all():
        notes.append(
            "Planned without the detector: mAP50, latency and peak memory are not measured and "
            "stay empty."
        )
    return [*notes, *report.notes]
