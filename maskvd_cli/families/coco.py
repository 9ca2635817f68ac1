"""COCO's classes by their numbers, which have gaps, as detectors with 91 outputs count them."""

from __future__ import annotations

from dataclasses import replace

from maskvd_cli.families.base import WeightsFile

_NAMED = """
1 person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant
13 stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra
25 giraffe
27 backpack, umbrella
31 handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat
40 baseball glove, skateboard, surfboard, tennis racket, bottle
46 wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot
58 hot dog, pizza, donut, cake, chair, couch, potted plant, bed
67 dining table
70 toilet
72 tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator
84 book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""


def _numbered() -> tuple[str | None, ...]:
    names: list[str | None] = [None] * 91
    for line in _NAMED.strip().splitlines():
        first, _, row = line.partition(" ")
        for number, name in enumerate(row.split(", "), start=int(first)):
            names[number] = name
    return tuple(names)


NUMBERED = _numbered()


def named_or_coco(file: WeightsFile, classes: int) -> WeightsFile:
    """Return a file that names no classes, but has as many as COCO has numbers, with COCO's names.

    A remark says so. Any other file is returned as it is.
    """
    if file.classes is not None or classes != len(NUMBERED):
        return file
    remark = f"Weights {file.path.name} name no classes; their {classes} are COCO's, by number."
    return replace(file, classes=NUMBERED, remarks=(*file.remarks, remark))
