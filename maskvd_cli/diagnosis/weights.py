"""Which weights are there: the shipped ones against their cards, and the user's own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from maskvd_cli.diagnosis.finding import Checkup
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.machine.linux import text_of

VARIABLE = "MASKVD_WEIGHTS"
_KINDS = (".safetensors", ".pth", ".pt", ".npz")
_RESTORE = "restore it from the checkout, or: pip install --force-reinstall maskvd"


def weights_findings(recipes: Mapping[str, Path]) -> Iterator[Checkup]:
    """Yield shipped weights, which lie beside the shipped recipes, and those of MASKVD_WEIGHTS."""
    folders = {path.parent / "weights" for path in recipes.values()}
    cards = sorted(card for folder in folders for card in folder.glob("*.md"))
    if not cards:
        remedy = "train them (maskvd train train-synthetic), or reinstall maskvd"
        yield Checkup("shipped weights", "warning", "no model card is there", remedy)
    for card in cards:
        yield card_finding(card)
    yield own_weights(os.environ.get(VARIABLE), recipes)


def card_finding(card: Path) -> Checkup:
    """Compare a weights file with the name and the SHA-256 that its model card gives."""
    text, name = text_of(card) or "", f"weights {card.stem}"
    file = re.search(r"^\| file \| `([\w.+-]+)`", text, re.MULTILINE)
    digest = re.search(r"^\| sha256 \| `([0-9a-f]{64})` \|", text, re.MULTILINE)
    if file is None or digest is None:
        return Checkup(name, "warning", f"{card.name} names no file with a sha256", _RESTORE)
    path = card.parent / file[1]
    if not path.is_file():
        return Checkup(name, "problem", f"{path} is missing", _RESTORE)
    try:
        found = sha256_of(path)
    except OSError as error:
        return Checkup(name, "problem", f"{path}: {error.strerror}", "check its permissions")
    if found != digest[1]:
        text = f"{path} has sha256 {found[:12]}, its card says {digest[1][:12]}"
        return Checkup(name, "problem", text, _RESTORE)
    size = path.stat().st_size / 1e6
    return Checkup(name, "ok", f"{size:.1f} MB, sha256 {found[:12]} as its card says")


def own_weights(folder: str | None, recipes: Mapping[str, Path]) -> Checkup:
    """Look for the files that the shipped recipes expect in the folder of MASKVD_WEIGHTS."""
    wanted = sorted(
        {
            name
            for path in recipes.values()
            for name in re.findall(rf"\${VARIABLE}/([\w.+-]+)", text_of(path) or "")
        }
    )
    if not folder:
        remedy = f"export {VARIABLE}=DIR with {', '.join(wanted) or 'your weights'}"
        return Checkup(VARIABLE, "note", "is not set; recipes for KITTI and VID need it", remedy)
    here = Path(folder)
    if not here.is_dir():
        return Checkup(VARIABLE, "problem", f"{here} is no folder", f"export {VARIABLE}=DIR")
    found = sorted(path.name for path in here.iterdir() if path.suffix.lower() in _KINDS)
    text = f"{here} holds {len(found)} weights file{'s' * (len(found) != 1)}"
    missing = [name for name in wanted if name not in found]
    if missing:
        remedy = "convert the published file: maskvd convert FILE DIR/NAME"
        return Checkup(VARIABLE, "note", f"{text}, not {', '.join(missing)}", remedy)
    return Checkup(VARIABLE, "ok", text)
