"""Which annotations are the published benchmark's: data in its layout may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of the benchmark's own label files and seqmap, by dataset, split and protocol.
FINGERPRINTS = {
    ("kitti", "train", "maskvd-paper"): (
        "e53a2c9849237858fb22160866c3f0af7a85d9f7342d50d8cda96c5aebc26f61"
    ),
    ("kitti", "train", "kitti-ignore"): (
        "1323542c0e95c528c872888240a3e10075085a353ae0dbfbda6d8a83d73cc0e5"
    ),
    ("kitti", "train-half", "maskvd-paper"): (
        "6b4a465647ac07b484cdc37d316126e826c9fdb41ac2be4c0406593e49187ea6"
    ),
    ("kitti", "train-half", "kitti-ignore"): (
        "72dc69e5094ee2fea49fe34bc7513a7c27e78a303370c1272f1859ff8cdef52f"
    ),
    ("kitti", "val-half", "maskvd-paper"): (
        "d4c843643344766553159095527c01374e8afe420193995fce6a462ebf0ddca2"
    ),
    ("kitti", "val-half", "kitti-ignore"): (
        "567a7d73fa3e5ff84f78e9aedf6d62de07e9ec33dc3b7d2a4632d0de8c07d7e0"
    ),
}


def is_benchmark(dataset: Mapping[str, Any]) -> bool | None:
    """Tell whether the `dataset` of a point's setting is the published benchmark itself.

    None where that is not known: for other datasets and splits, and where only the numbers of
    clips and frames are stated. A part of the benchmark is not the benchmark.
    """
    known = FINGERPRINTS.get((dataset["name"], dataset["split"], dataset["protocol"]))
    if known is None or "fingerprint" not in dataset:
        return None
    return dataset["fingerprint"] == known
