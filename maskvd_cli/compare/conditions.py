"""What besides the points differs between two runs, and what of it forbids to compare them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from maskvd_cli.compare.pairing import Pair, Side
from maskvd_cli.judge.measured import subset_text

KINDS = ("dataset", "protocol", "hardware", "precision", "subset", "detections")
_KIND_OF = {
    "dataset.protocol": "protocol",
    "dataset": "dataset",
    "subset": "subset",
    "detections": "detections",
    "measured.clip_boxes": "protocol",
    "measured.precision": "precision",
    "measured.device": "hardware",
}
_HARDWARE = ("processor", "cores", "gpu", "device", "threads")
_PRECISION = ("float32_products", "tf32_convolutions")
_LONGEST_VALUE = 48
Found = tuple[str | None, str, str, str]


@dataclass(frozen=True)
class Difference:
    """Something that is `old` in A and `new` in B, for `points` points.

    `kind` is one of KINDS where it forbids to compare, else None.
    """

    kind: str | None
    name: str
    old: str
    new: str
    points: int

    def __str__(self) -> str:
        of = f" ({self.points} points)" if self.points > 1 else ""
        return f"{self.name} is {self.old} in A and {self.new} in B{of}"


def differences(pairs: Sequence[Pair]) -> list[Difference]:
    """Return what differs between the two sides of the pairs, each once, in order of KINDS."""
    counted: dict[Found, int] = {}
    for pair in pairs:
        if pair.a is None or pair.b is None or pair.a.record is None or pair.b.record is None:
            continue
        for difference in _between(pair.a, pair.b):
            counted[difference] = counted.get(difference, 0) + 1
    every = [Difference(*difference, points) for difference, points in counted.items()]
    return sorted(every, key=lambda one: KINDS.index(one.kind) if one.kind else len(KINDS))


def _between(a: Side, b: Side) -> Iterator[Found]:
    assert a.record is not None
    assert b.record is not None
    old, new = (_described(side.record.setting) for side in (a, b) if side.record)
    if ("measured" in old) != ("measured" in new):
        yield None, "the run", _kind_of_run(old), _kind_of_run(new)
        old, new = ({k: v for k, v in s.items() if k != "measured"} for s in (old, new))
    elif "measured" in old:
        yield from _surroundings(a, b, _HARDWARE, "hardware")
        yield from _surroundings(a, b, _PRECISION, "precision")
    yield from _apart(old, new, _setting_kind)
    yield from _apart(a.record.params, b.record.params, lambda path: None)
    method = a.record.method
    if a.record.revision != b.record.revision:
        yield None, f"revision of {method}", str(a.record.revision), str(b.record.revision)


def _described(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting with its part of the data in words."""
    return {**setting, "subset": subset_text(dict(setting)) or "all of the data"}


def _kind_of_run(setting: Mapping[str, Any]) -> str:
    return "measured" if "measured" in setting else "planned"


def _apart(
    old: Mapping[str, Any], new: Mapping[str, Any], kind_of: Callable[[str], str | None]
) -> Iterator[Found]:
    first, second = dict(_flat(old)), dict(_flat(new))
    for path in dict.fromkeys([*first, *second]):
        left, right = first.get(path, "absent"), second.get(path, "absent")
        if left != right:
            yield kind_of(path), path, _short(left), _short(right)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(cast(dict[str, Any], value), f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    # The beginning of a fingerprint is enough.
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _setting_kind(path: str) -> str | None:
    return next(
        (kind for name, kind in _KIND_OF.items() if f"{path}.".startswith(f"{name}.")), None
    )


def _surroundings(a: Side, b: Side, names: Iterable[str], kind: str) -> Iterator[Found]:
    """Yield the differences of the machines; facts that one of the runs lacks are left out."""
    for name in names:
        old, new = (
            {str(one[name]) for one in side.environments if one.get(name) is not None}
            for side in (a, b)
        )
        lacks_gpu = name == "gpu" and old != new
        if old != new and ((old and new) or lacks_gpu):
            texts = [_short(", ".join(sorted(one)) or "none") for one in (old, new)]
            yield kind, name, texts[0], texts[1]


def software_notes(pairs: Sequence[Pair]) -> list[str]:
    """Return one line on the versions that differ, none where all are alike."""
    sides = ([p.a for p in pairs if p.a], [p.b for p in pairs if p.b])
    old, new = (_versions(of) for of in sides)
    changed = [
        f"{name} {', '.join(sorted(old[name]))} -> {', '.join(sorted(new[name]))}"
        for name in old
        if name in new and old[name] != new[name]
    ]
    return [f"Software differs (A -> B): {'; '.join(changed)}."] if changed else []


def _versions(sides: Sequence[Side]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for environment in (made for side in sides for made in side.environments):
        packages = environment.get("packages")
        known = cast(dict[str, Any], packages) if isinstance(packages, dict) else {}
        own = {"maskvd": environment.get("tool_version"), "git": environment.get("git")}
        every = {**own, "python": environment.get("python"), "cuda": environment.get("cuda")}
        for name, value in {**every, **known}.items():
            if value is not None:
                found.setdefault(name, set()).add(str(value))
    return found
