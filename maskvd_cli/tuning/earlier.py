"""`tune.json` of before version 3, which knew one headline and one baseline, each by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from maskvd_cli.store.earlier_plan import HEADLINE

_VERSIONS = (1, 2)
_SEARCH = {"dense": "baseline"}
_SETTINGS = {"max_map_drop": "max_loss"}
_TRIAL = {HEADLINE: "quality", f"{HEADLINE}_change": "change"}


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a search in the present layout; one of version 3, or none at all, as it is."""
    if content.get("version") not in _VERSIONS:
        return dict(content)
    search = _renamed(content, _SEARCH)
    search["baseline"] = _renamed(search.get("baseline"), _TRIAL)
    if isinstance(search.get("trials"), list):
        search["trials"] = [_renamed(trial, _TRIAL) for trial in search["trials"]]
    settings = _renamed(search.get("settings"), _SETTINGS)
    if isinstance(settings, dict):
        settings.setdefault("headline", HEADLINE)
    return {**search, "settings": settings}


def _renamed(content: Any, names: Mapping[str, str]) -> Any:
    """Return an object with other keys; a key is left, and refused later, where both are there."""
    if not isinstance(content, Mapping):
        return content
    known = cast(Mapping[str, Any], content)
    renamed = {old: new for old, new in names.items() if new not in known}
    return {renamed.get(key, key): value for key, value in known.items()}
