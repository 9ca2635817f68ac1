"""Names that files of before schema 5 hold and those of today do not.

History: these words stay as they are, whatever quantities and methods of today are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Counts of a point had these, and never a value: it stood in the measured records.
_UNFILLED = ("map50", "latency_ms", "peak_mib")
# What sessions called the series that others are compared with.
_SERIES = {"dense": "baseline"}


def without_unfilled(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point's counts without the names that never had a value."""
    return {
        name: value for name, value in counts.items() if name not in _UNFILLED or value is not None
    }


def with_names_of_today(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a session's raw samples with its series named as they are today."""
    if "series" not in samples:
        return samples
    names = [str(name) for name in samples["series"]]
    return samples.assign(series=[_SERIES.get(name, name) for name in names])
