"""Labels without the words that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


def short_labels(labels: Iterable[str]) -> dict[str, str]:
    """Return each label without the words that all of them, or all of its method's, have."""
    every = list(dict.fromkeys(labels))
    everywhere = _shared(every)
    names: dict[str, str] = {}
    for label in every:
        method, *words = label.split() or [""]
        kin = [other for other in every if other.split()[:1] == [method]]
        dropped = _shared(kin) if len(kin) > 1 else everywhere
        names[label] = " ".join([method, *(word for word in words if word not in dropped)])
    return names


def _shared(labels: Sequence[str]) -> set[str]:
    times = Counter(word for label in labels for word in set(label.split()[1:]))
    return {word for word, count in times.items() if count == len(labels)}
