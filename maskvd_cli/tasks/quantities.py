"""What tasks are scored by, as quantities; importing them loads nothing heavy."""

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
MASK_AP50 = Quantity(
    "mask_ap50",
    "mask AP50",
    "%",
    2,
    True,
    "of instance masks, mean over classes at IoU 0.5 of pixels, per cent",
    comparison="difference",
    spare=1,
)
MASK_AP = Quantity(
    "mask_ap",
    "mask AP",
    "%",
    2,
    True,
    "of instance masks, mean over classes and IoU 0.5 to 0.95 of pixels, per cent",
    comparison="difference",
    spare=8,
)
INSTANCE_MASKS = (MASK_AP50, MASK_AP)
TRACK_AP = Quantity(
    "track_ap",
    "track AP",
    "%",
    2,
    True,
    "of tracks of instance masks, mean over classes and IoU 0.5 to 0.95 over a clip, per cent",
    comparison="difference",
    spare=8,
)
TRACK_AP50 = Quantity(
    "track_ap50",
    "track AP50",
    "%",
    2,
    True,
    "of tracks of instance masks, mean over classes at IoU 0.5 over a clip, per cent",
    comparison="difference",
    spare=8,
)
TRACKS = (TRACK_AP, TRACK_AP50)
TOP1 = Quantity(
    "top1",
    "top-1",
    "%",
    2,
    True,
    "videos whose best class is the right one, logits averaged over looks, per cent",
    comparison="difference",
    spare=1,
)
TOP5 = Quantity(
    "top5",
    "top-5",
    "%",
    2,
    True,
    "videos with the right class among the best five, per cent",
    comparison="difference",
    spare=8,
)
RECOGNITION = (TOP1, TOP5)
TMACS_VIDEO = Quantity(
    "tmacs_video",
    "TMACs/video",
    "TMACs",
    3,
    False,
    "1e12 multiply-accumulates of all looks at a video, under the counter of the papers: backbone "
    "and what concludes each look",
    spare=2,
)


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
