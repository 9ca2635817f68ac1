"""What plans of before schema 5 did not say, since there was one task and nine methods then.

History: these words stay as they are, whatever the quantities and methods of today are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

TASK, HEADLINE = "detection", "map50"
_COUNTS = "counts"
_INTERVAL = "95 % interval"

# Name, header, unit, digits, whether more is better, comparison, spare, of, meaning.
_Row = tuple[str, str, str, int, bool | None, str, int, str, str]
_QUANTITIES: tuple[_Row, ...] = (
    ("tokens", "tokens", "", 1, False, "exact", 4, _COUNTS,
     "recomputed per frame, mean over all frames, full ones included"),
    ("keep_rate", "keep %", "share", 1, False, "exact", 8, _COUNTS, "of all tokens"),
    ("keep_rate_real", "real %", "share", 1, False, "exact", 9, _COUNTS,
     "of the tokens that are not wholly padding"),
    ("full_frame_share", "full %", "share", 1, None, "exact", 10, _COUNTS,
     "frames that recompute every token"),
    ("gmacs", "GMACs", "GMACs", 2, False, "exact", 2, _COUNTS,
     "1e9 multiply-accumulates of the backbone per frame, matrix products only"),
    ("gmacs_detector", "model GMACs", "GMACs", 2, False, "exact", 9, _COUNTS,
     "the same of the whole detector, at each frame's proposals where the model ran, else at the "
     "most"),
    ("gmacs_published", "publ. counter", "GMACs", 2, False, "exact", 4, _COUNTS,
     "GMACs under the counter of the papers"),
    ("gmacs_published_at_mean_tokens", "at mean", "GMACs", 2, False, "exact", 7, _COUNTS,
     "the same, evaluated once at the mean token count"),
    ("state_mb", "state MB", "MB", 1, False, "exact", 6, _COUNTS,
     "kept between frames, 1e6 bytes, float32 unless another precision ran"),
    ("map50", "mAP50", "%", 2, True, "difference", 1, "accuracy",
     "mean over classes at IoU 0.5, per cent"),
    ("map", "mAP", "%", 2, True, "difference", 8, "accuracy",
     "mean over classes and IoU 0.5 to 0.95, per cent"),
    ("map50_change", "change of mAP50", "points", 2, True, "difference", 0, "accuracy",
     "points against the baseline, 95 % interval over videos"),
    ("latency_ms", "latency ms", "ms", 2, False, "ratio", 3, "latency",
     "median per timed frame, selection to detections; p90 likewise"),
    ("latency_mean_ms", "mean ms", "ms", 2, False, "ratio", 6, "latency",
     "full frames weighted by their share of all the data's frames"),
    ("latency_p90_ms", "p90 ms", "ms", 2, False, "ratio", 11, "latency", "90th percentile"),
    ("latency_full_ms", "full ms", "ms", 2, False, "ratio", 10, "latency",
     "median of full frames alone"),
    ("latency_masked_ms", "masked ms", "ms", 2, False, "ratio", 10, "latency",
     "median of the other frames alone"),
    ("mask_ms", "mask ms", "ms", 2, False, "ratio", 11, "latency",
     "choosing tokens ahead, mean, full frames weighted"),
    ("embed_ms", "embed ms", "ms", 2, False, "ratio", 12, "latency",
     "embedding patches, mean, full frames weighted"),
    ("backbone_ms", "backbone ms", "ms", 2, False, "ratio", 9, "latency",
     "mean, full frames weighted"),
    ("head_ms", "head ms", "ms", 2, False, "ratio", 11, "latency",
     "mean, full frames weighted"),
    ("speedup", "speed-up", "x", 2, True, "ratio", 0, "latency",
     f"mean of the baseline / mean, measured side by side, {_INTERVAL} over rounds"),
    ("peak_mib", "peak MiB", "MiB", 0, False, "exact", 4, "memory",
     "weights, state and activations"),
    ("energy_mj", "energy mJ", "mJ", 0, False, "ratio", 6, "energy",
     "of the GPU's board per frame, idle power included"),
)  # fmt: skip
_MASKED = {"version": "ver.", "period": "P"}
_MASKVD = "MaskVD (WACV 2025, arXiv 2407.12067)"
_EVENTFUL = "Eventful Transformers (ICCV 2023, arXiv 2308.13494)"
_DEFAULTS: dict[str, dict[str, Any]] = {"dense": {"pool": 1}}
_GATES = {"name": "gates", "across": "gmacs", "labelled": "r"}
_DROPS = {
    "name": "evit", "across": "keep_rate", "below": ["latency_mean_ms"], "beside": ["maskvd"],
}  # fmt: skip
_FIGURES = {"eventful": _GATES, "stgt": _GATES, "evit": _DROPS, "maskvd+evit": _DROPS}
# Role, description, paper, columns, colour, mark.
_METHODS: dict[str, tuple[str, str, str, dict[str, str], str, str]] = {
    "dense": (
        "baseline", "the backbone as it is: every token of every frame", "ViTDet (ECCV 2022)",
        {}, "#000000", "*",
    ),
    "dense-unpadded": (
        "method", "control: dense on the tokens that are not wholly padding", "",
        {}, "#7f7f7f", "P",
    ),
    "maskvd": (
        "method", "static mask from a heatmap and dynamic mask from the last boxes, period P",
        _MASKVD,
        {**_MASKED, "mask": "mask", "static_keep_rate": "k_s", "score_threshold": "threshold",
         "margin": "margin"},
        "#0072b2", "o",
    ),
    "eventful": (
        "method", "recomputes tokens that moved since their last update, and what attends to them",
        _EVENTFUL, {}, "#d55e00", "s",
    ),
    "stgt": (
        "method", "recomputes tokens that moved since the previous frame; dense attention",
        f"STGT (NeurIPS-W 2021), as in {_EVENTFUL}", {}, "#e69f00", "D",
    ),
    "evit": (
        "method", "drops the tokens that the class token attends to least, block by block",
        "EViT (ICLR 2022, arXiv 2202.07800)", {}, "#009e73", "^",
    ),
    "maskvd+evit": (
        "method", "MaskVD's mask, then EViT's drops among its tokens; full frames every P",
        f"{_MASKVD}, figure 7",
        {"period": "P", "mask": "mask", "static_keep_rate": "k_s", "score_threshold": "threshold",
         "margin": "margin"},
        "#56b4e9", "v",
    ),
    "oracle": (
        "control", "control: tokens of the frame's own annotated boxes, masked execution",
        "", {**_MASKED, "margin": "margin"}, "#cc79a7", "X",
    ),
    "random": (
        "control", "control: tokens drawn at random, masked execution", "", _MASKED,
        "#b2a300", "x",
    ),
}  # fmt: skip


def with_legend(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan of before schema 5 with its task, headline, quantities and methods."""
    points = data.get("points")
    listed = cast(list[Any], points) if isinstance(points, list) else []
    names = dict.fromkeys(map(_method_of, listed))
    legend = {
        "task": TASK,
        "headline": HEADLINE,
        "quantities": [_quantity(row) for row in _QUANTITIES],
        "methods": {name: _method(name) for name in names if isinstance(name, str)},
    }
    return {**legend, **data}


def _method_of(point: Any) -> object:
    """Return the method of a planned point, given as JSON or as a record."""
    if isinstance(point, Mapping):
        return cast(Mapping[str, object], point).get("method")
    return getattr(point, "method", None)


def _quantity(row: _Row) -> dict[str, Any]:
    name, header, unit, digits, more, comparison, spare, of, meaning = row
    return {
        "name": name, "header": header, "unit": unit, "digits": digits, "more_is_better": more,
        "meaning": meaning, "comparison": comparison, "spare": spare, "of": of,
    }  # fmt: skip


def _method(name: str) -> dict[str, Any]:
    """Return what was known of a method; a plug-in's was an ordinary one without a style."""
    if name not in _METHODS:
        return {"role": "method", "description": "", "paper": ""}
    role, description, paper, columns, colour, mark = _METHODS[name]
    return {
        "role": role, "description": description, "paper": paper, "columns": dict(columns),
        "colour": colour, "mark": mark, "defaults": _DEFAULTS.get(name, {}),
        "figure": _FIGURES.get(name),
    }  # fmt: skip
