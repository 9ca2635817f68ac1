"""What each block of a backbone computed, and how well it chose, as columns of a point's samples.

`count_block_03`: tokens that block 3 computed of a frame; `selectivity_block_03`: how well the
scores that it chose by tell tokens under objects from others, the area under the ROC curve in 0..1,
absent where a frame has no score, no object, or nothing else. Methods whose blocks differ have
these columns; the baseline has the second ones alone, of what its features tell
(`work.selectivity`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.core.counts import block_count

_TOKENS, SELECTIVITY = "count_", "selectivity_"


@dataclass(frozen=True, eq=False)
class Layers:
    """Means over the frames of a point, by block: `tokens` (L,), `selectivity` (L,) NaN if none."""

    tokens: NDArray[np.float64]
    selectivity: NDArray[np.float64]


def layers_of(samples: pd.DataFrame) -> Layers | None:
    """Return what blocks computed; None where the samples do not tell it of any."""
    tokens: list[float] = []
    selectivity: list[float] = []
    while (name := f"{_TOKENS}{block_count(len(tokens))}") in samples:
        chosen = selectivity_column(len(tokens))
        tokens.append(float(samples[name].mean()))
        known = samples[chosen].dropna() if chosen in samples else samples[name].iloc[:0]
        selectivity.append(float(known.mean()) if len(known) else np.nan)
    return Layers(np.array(tokens), np.array(selectivity)) if tokens else None


def feature_selectivity_of(samples: pd.DataFrame) -> NDArray[np.float64] | None:
    """Return the selectivity (L,) of the features after each block, where every token was computed.

    None where the samples do not tell it, or tell what blocks chose by.
    """
    found: list[float] = []
    while (name := selectivity_column(len(found))) in samples:
        known = samples[name].dropna()
        found.append(float(known.mean()) if len(known) else np.nan)
    chosen = f"{_TOKENS}{block_count(0)}" in samples
    return None if chosen or np.isnan(found).all() else np.array(found)


def selectivity_column(number: int) -> str:
    """Return the column of a block's selectivity."""
    return f"{SELECTIVITY}{block_count(number)}"
