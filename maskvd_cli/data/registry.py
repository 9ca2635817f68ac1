"""The datasets by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.data.base import Dataset

datasets: Registry[Dataset] = Registry(
    "dataset",
    Dataset,
    "maskvd.datasets",
    {
        "kitti": "maskvd_cli.data.kitti:Kitti",
        "imagenet-vid": "maskvd_cli.data.imagenet_vid:ImageNetVid",
        "coco-video": "maskvd_cli.data.coco_video:CocoVideo",
        "youtube-vis": "maskvd_cli.data.youtube_vis:YouTubeVis",
        "synthetic": "maskvd_cli.data.synthetic_clips:Synthetic",
        "synthetic-actions": "maskvd_cli.data.synthetic_actions:SyntheticActions",
        "kinetics-400": "maskvd_cli.data.kinetics:Kinetics400",
        "epic-kitchens-100": "maskvd_cli.data.epic_kitchens:EpicKitchens100",
    },
)
