"""`maskvd get`: published weights from the Hugging Face hub; the one command that connects."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    at_work,
    print_facts,
    print_json,
    refuse_datasets,
    say,
)
from maskvd_cli.core.errors import ResultError, UsageError, unknown

if TYPE_CHECKING:
    from maskvd_cli.families.hub import Offer


def get(
    name: Annotated[str, typer.Argument(help="Model with published weights, such as rfdetr-nano.")],
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag of the repository. Default: newest.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to write. Default: in the user's cache."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch published weights from the Hugging Face hub. No other command connects anywhere.

    Shows licence, source and revision, and records them with the SHA-256 of each file in
    maskvd.json. A recipe then finds them by name: `model.weights: rfdetr-nano`. What is there
    already and the same is left as it is. Needs the extra hf (pip install 'maskvd[hf]').

    Example: maskvd get rfdetr-nano
    """
    from maskvd_cli.families.fetched import home_of, record_of, repositories
    from maskvd_cli.families.hub import offered
    from maskvd_cli.families.zoo import entry

    known = repositories()
    if name not in known:
        raise UsageError(unknown("published model", name, known))
    folder = home_of(name) if to is None else to.expanduser().absolute()
    assert folder is not None
    refuse_datasets(folder)
    record = record_of(folder)
    if record is None or revision != record["revision"] or not _is_whole(folder, record, force):
        with at_work(f"asking for {known[name]}"):
            offer = offered(known[name], revision, entry(name).family.published_beside)
        licence = offer.licence or "not stated"
        say(f"{name}: {offer.source}, revision {offer.revision[:12]}, licence {licence}")
        if record is None or not _is_same(folder, record, offer, force):
            _check_strangers(folder, record)
            record = _fetched(name, revision, offer, folder)
        else:
            say(f"{folder} holds it already; nothing was fetched")
    else:
        say(f"{folder} holds it already; nothing was asked for")
    _print(folder, record, as_json=as_json)


def _is_whole(folder: Path, record: dict[str, Any], force: bool) -> bool:
    """Tell whether a folder is as it was fetched. Raises ResultError where it is not to change."""
    from maskvd_cli.families.fetched import damage_of

    damage = damage_of(folder, record)
    if damage is not None and not force:
        raise ResultError(damage, where=folder, remedy="fetch it again: --force")
    return damage is None


def _is_same(folder: Path, record: dict[str, Any], offer: Offer, force: bool) -> bool:
    """Tell whether a folder holds an offer. Raises ResultError for another one, without --force."""
    is_same = (record["source"], record["revision"]) == (offer.source, offer.revision)
    if not is_same and not force:
        raise ResultError(
            f"holds revision {record['revision'][:12]} of {record['source']}, not "
            f"{offer.revision[:12]}",
            where=folder,
            remedy="keep it (--revision), replace it (--force), or give another folder (--to DIR)",
        )
    return _is_whole(folder, record, force) and is_same


def _check_strangers(folder: Path, record: dict[str, Any] | None) -> None:
    """Raise ResultError where a folder that is to be replaced holds more than was fetched."""
    from maskvd_cli.families.fetched import strangers_in

    if record is not None and (more := strangers_in(folder, record)):
        raise ResultError(
            f"holds {more[0]}, which was not fetched and would be lost",
            where=folder,
            remedy="move it elsewhere",
        )


def _fetched(name: str, asked: str | None, offer: Offer, folder: Path) -> dict[str, Any]:
    from maskvd_cli.families.hub import fetch

    told = {
        "name": name,
        "source": offer.source,
        "revision": offer.revision,
        "asked": asked,
        "licence": offer.licence,
        "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    with at_work(f"fetching {len(offer.files)} files, {offer.size / 1e6:.0f} MB"):
        return fetch(offer, folder, told)


def _print(folder: Path, record: dict[str, Any], *, as_json: bool) -> None:
    from maskvd_cli.families.fetched import home_of

    called = record["name"] if folder == home_of(record["name"]) else folder
    if as_json:
        print_json({**record, "folder": folder, "weights": called})
        return
    print_facts(
        [
            ("model", record["name"]),
            ("source", record["source"]),
            ("licence", record.get("licence") or "not stated; see the source"),
            ("revision", record["revision"]),
            ("folder", folder),
            *[(f"sha256 {file}", told["sha256"]) for file, told in record["files"].items()],
            ("in a recipe", f"model.weights: {called}"),
        ]
    )
