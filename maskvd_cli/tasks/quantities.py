"""What detection is scored by, as quantities; importing them loads nothing heavy."""

from __future__ import annotations

from maskvd_cli.core.quantity import Quantity

MAP50 = Quantity(
    "map50",
    "mAP50",
    "%",
    2,
    True,
    "mean over classes at IoU 0.5, per cent",
    comparison="difference",
    spare=1,
)
MAP = Quantity(
    "map",
    "mAP",
    "%",
    2,
    True,
    "mean over classes and IoU 0.5 to 0.95, per cent",
    comparison="difference",
    spare=8,
)
DETECTION = (MAP50, MAP)


def change_of(headline: Quantity) -> Quantity:
    """Return the quantity of a headline's change against the baseline, in points."""
    return Quantity(
        f"{headline.name}_change",
        f"change of {headline.header}",
        "points",
        headline.digits,
        headline.more_is_better,
        "points against the baseline, 95 % interval over videos",
        comparison="difference",
    )
