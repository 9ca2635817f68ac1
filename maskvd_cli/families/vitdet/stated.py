"""What a weights file says of its detector beside the tensors: checked key by key, never trusted.

`maskvd train` writes `heads`, `classes` and `arch`, `maskvd convert` carries them over. Files of
others say nothing; then the widths of the tensors and ViTDet-B's other numbers hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from torch import Tensor

from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.head_arch import LEVELS, HeadArch, strides_of
from maskvd_cli.families.vitdet.renaming import CheckpointError, Converted
from maskvd_cli.store.arrays import finite_json

_WIDTHS = {
    "classes": "box_head.classes.bias",
    "channels": "rpn.convs.0.bias",
    "hidden": "box_head.fc.bias",
}
_ANCHORS = ("anchor_sizes", "anchor_ratios")
# Of the file itself, not of its detector.
_OF_THE_FILE = ("format_version", "tool_version")
# Of the file that a converted one was made from, and the files before that.
_LAST, _EARLIER, _MOST_SOURCES = ("source_naming", "source_sha256"), "earlier_sources", 100
_TRAINING_ALONE = ("rpn_sampling", "box_sampling")
_MOST, _LARGEST_ROI, _MOST_RATIOS, _LARGEST_NUMBER = 1 << 20, 64, 64, 1e6
_REMEDY = "train or convert it again, or give another file"


def detector_heads(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], arch: ViTArch, where: object
) -> HeadArch:
    """Return pyramid, RPN and box head of a detector under our names, on `arch`.

    Widths are those of the tensors, the rest is what the metadata say, else ViTDet-B's. Raises
    CheckpointError about `where` for tensors that are no detector's, and for metadata that are
    damaged or contradict the tensors or the patch.
    """
    widths = _widths(tensors, where)
    parts = stated_heads(metadata, where)
    expected: dict[str, Any] = {**widths, "strides": strides_of(arch.patch)}
    _check_widths(parts, expected, where)
    return HeadArch(**{**parts, **expected})


def stated_heads(metadata: Mapping[str, str], where: object) -> dict[str, Any]:
    """Return the fields of HeadArch that a file states, all but those of training alone.

    Raises CheckpointError for unknown keys and for values of another kind or out of range.
    """
    content = _json("heads", metadata, where)
    if content is None:
        return {}
    if not isinstance(content, dict):
        _refuse("heads", f"is {_shown(content)}, expected an object", where)
    parts: dict[str, Any] = {}
    for name, value in cast(dict[str, object], content).items():
        if name in _TRAINING_ALONE:
            continue
        if name not in _READERS:
            _refuse(f"heads.{name[:40]}", "is not known", where)
        try:
            parts[name] = _READERS[name](value)
        except ValueError as error:
            _refuse(f"heads.{name}", f"{error}", where)
    return parts


def stated_classes(metadata: Mapping[str, str], classes: int, where: object) -> list[str] | None:
    """Return the names of the detector's `classes`, None where the file states none.

    Raises CheckpointError for anything but so many texts.
    """
    content = _json("classes", metadata, where)
    if content is None:
        return None
    if not isinstance(content, list):
        _refuse("classes", f"is {_shown(content)}, expected a list of names", where)
    names = cast(list[object], content)
    if not all(isinstance(name, str) and name for name in names):
        _refuse("classes", "holds something that is no name", where)
    if len(names) != classes:
        _refuse("classes", f"names {len(names)}, the tensors have {classes}", where)
    return cast(list[str], names)


def states_anchors(metadata: Mapping[str, str], where: object) -> bool:
    """Tell whether a file states sizes and ratios of its anchors, which no tensor shows."""
    parts = stated_heads(metadata, where)
    return all(name in parts for name in _ANCHORS)


def carried_over(
    metadata: Mapping[str, str], converted: Converted, arch: ViTArch | None, where: object
) -> dict[str, str]:
    """Return what a converted file states of its detector, `metadata` being those of its source.

    Raises CheckpointError for metadata that are damaged, or contradict the tensors or `arch`.
    """
    said = metadata.get("arch")
    if arch is not None and said not in (None, arch.name):
        raise CheckpointError(
            f"says that it is of {said}, not {arch.name}",
            where=where,
            remedy=f"give --arch {said}, or leave it out",
        )
    if converted.contains == "detector":
        widths = _widths(converted.tensors, where)
        parts = stated_heads(metadata, where)
        _check_widths(parts, dict(widths), where)
        stated_classes(metadata, widths["classes"], where)
    return {key: value for key, value in metadata.items() if key not in _OF_THE_FILE}


def earlier_sources(metadata: Mapping[str, str], where: object) -> list[dict[str, Any]]:
    """Return the files that a converted file came from, the first one first, itself left out.

    Each with `naming`, `sha256` and what was `dropped` of it (name to reason); none for a file that
    was not converted. Raises CheckpointError for metadata that are damaged.
    """
    chain: object = _json(_EARLIER, metadata, where) if _EARLIER in metadata else []
    if not isinstance(chain, list) or len(cast(list[object], chain)) > _MOST_SOURCES:
        _refuse(_EARLIER, f"is no list of at most {_MOST_SOURCES} sources", where)
    every = [*cast(list[object], chain)]
    if _LAST[1] in metadata:
        naming, sha256 = (metadata.get(key, "") for key in _LAST)
        dropped = _json("dropped", metadata, where) or {}
        every.append({"naming": naming, "sha256": sha256, "dropped": dropped})
    if not all(map(_is_source, every)):
        _refuse(_EARLIER, "holds something that is no source", where)
    return cast(list[dict[str, Any]], every)


def _is_source(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    entry = cast(dict[str, object], value)
    texts, dropped = [entry.get("naming"), entry.get("sha256")], entry.get("dropped")
    if set(entry) != {"naming", "sha256", "dropped"} or not isinstance(dropped, dict):
        return False
    return all(isinstance(t, str) for t in [*texts, *cast(dict[str, object], dropped).values()])


def _check_widths(parts: Mapping[str, Any], expected: Mapping[str, Any], where: object) -> None:
    for name, value in expected.items():
        if name in parts and parts[name] != value:
            _refuse(f"heads.{name}", f"is {_shown(parts[name])}, its tensors need {value}", where)


def _widths(tensors: Mapping[str, Tensor], where: object) -> dict[str, int]:
    widths: dict[str, int] = {}
    for part, name in _WIDTHS.items():
        if name not in tensors:
            raise CheckpointError(
                f"holds no {name}, so it is no detector of maskvd",
                where=where,
                remedy="convert the published file first: maskvd convert",
            )
        sides = tuple(tensors[name].shape)
        # One row of the logits is that of the background.
        widths[part] = (sides[0] if len(sides) == 1 else 0) - (part == "classes")
        if widths[part] < 1:
            raise CheckpointError(
                f"{name} has the shape {sides}, no detector's", where=where, remedy=_REMEDY
            )
    return widths


def _json(key: str, metadata: Mapping[str, str], where: object) -> object:
    text = metadata.get(key)
    if text is None:
        return None
    try:
        return finite_json(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        _refuse(key, f"is no JSON ({reason})", where)


def _refuse(key: str, problem: str, where: object) -> NoReturn:
    raise CheckpointError(f"metadata {key} {problem}", where=where, remedy=_REMEDY)


def _whole(most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"is {_shown(value)}, expected a whole number in 1..{most}")
        return value

    return read


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"is {_shown(value)}, expected a number in 0..1")
    return float(value)


def _row(least: int, most: int) -> Callable[[object], tuple[float, ...]]:
    def read(value: object) -> tuple[float, ...]:
        count = str(least) if least == most else f"{least} to {most}"
        expected = f"expected {count} numbers above 0"
        if not isinstance(value, list):
            raise ValueError(f"is {_shown(value)}, {expected}")
        row = cast(list[object], value)
        if not least <= len(row) <= most or not all(map(_is_positive, row)):
            raise ValueError(f"is {_shown(row)}, {expected}")
        return tuple(cast(list[float], row))

    return read


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= _LARGEST_NUMBER


def _shown(value: object) -> str:
    if isinstance(value, dict | list) and len(repr(cast(object, value))) > 60:
        return f"a {type(cast(object, value)).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


_READERS: Mapping[str, Callable[[object], Any]] = {
    **dict.fromkeys(
        (
            "classes",
            "channels",
            "hidden",
            "pre_nms",
            "post_nms",
            "training_pre_nms",
            "training_post_nms",
            "detections",
        ),
        _whole(_MOST),
    ),
    "roi_size": _whole(_LARGEST_ROI),
    "strides": _row(LEVELS, LEVELS),
    "anchor_sizes": _row(LEVELS, LEVELS),
    "anchor_ratios": _row(1, _MOST_RATIOS),
    **dict.fromkeys(("rpn_nms_iou", "score_floor", "nms_iou", "ignore_overlap"), _share),
}
