"""`maskvd convert`: a published checkpoint to this package's names, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    new_file,
    print_facts,
    print_json,
    say,
)
from maskvd_cli.core.errors import ResultError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from maskvd_cli.families.vitdet.renaming import Converted


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Checkpoint: .pth, .pt, .safetensors or .npz.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="DST", help="The file to write, ending in .safetensors.")
    ],
    naming: Annotated[
        str | None,
        typer.Option(
            help="detectron2, eventful, eventful-vivit, maskvd-nonwindowed, timm or own. Default: "
            "recognised."
        ),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(help="Architecture that the shapes must have. Default: any, recognised."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert a published checkpoint to maskvd's own names.

    SRC is read, never run. Every tensor is renamed, or named as dropped, or the reason to stop.
    Reads the checkpoints of ViTDet (Detectron2), Eventful Transformers (ViTDet and ViViT) and
    MaskVD, and ViT-B backbones of timm and MAE. The same SRC and options always give the same
    bytes. What a file of maskvd's own says of its detector (heads, anchors, classes, input,
    training) is kept, and so is what it was converted from.

    Example: maskvd convert frcnn_vitdet_final.pth vitdet-b-vid.safetensors --arch vitdet-b
    """
    _check_output(output, force)

    from maskvd_cli.families.checkpoints import save

    converted, archs, stated = _converted(source, naming, arch)
    metadata = stated | _origin(source, converted, stated)
    save(output, converted.tensors, metadata | ({"arch": archs[0]} if len(archs) == 1 else {}))
    for note in _notes(converted, archs, stated):
        say(f"note: {note}")
    _print(source, output, metadata, converted, archs, as_json=as_json)


def _origin(source: Path, converted: Converted, stated: dict[str, str]) -> dict[str, str]:
    """Return what the new file says of where it comes from, and where that came from."""
    from maskvd_cli.families.checkpoints import sha256_of
    from maskvd_cli.families.vitdet.stated import earlier_sources

    earlier = earlier_sources(stated, source)
    return {
        **({"earlier_sources": json.dumps(earlier)} if earlier else {}),
        "source_naming": converted.naming,
        "source_sha256": sha256_of(source),
        "contains": converted.contains,
        "dropped": json.dumps(converted.dropped),
    }


def _notes(
    converted: Converted, archs: list[str], stated: dict[str, str]
) -> Generator[str, None, None]:
    if not archs:
        yield "no architecture of maskvd has these shapes; name one with --arch to see why"
    if converted.contains == "detector" and "heads" not in stated:
        yield "SRC does not say its anchors; sweeps will take ViTDet-B's and say so"


def _print(
    source: Path,
    output: Path,
    metadata: dict[str, str],
    converted: Converted,
    archs: list[str],
    *,
    as_json: bool,
) -> None:
    from maskvd_cli.families.checkpoints import sha256_of

    earlier: list[dict[str, str]] = json.loads(metadata.get("earlier_sources", "[]"))
    if as_json:
        print_json(
            {
                "source": source,
                **metadata,
                **({"earlier_sources": earlier} if earlier else {}),
                "dropped": converted.dropped,
                "tensors": len(converted.tensors),
                "architectures": archs,
                "file": output,
                "sha256": sha256_of(output),
            }
        )
        return
    print_facts(
        [
            ("source", source),
            ("source sha256", metadata["source_sha256"]),
            *[("made from", f"{one['sha256']} ({one['naming']})") for one in reversed(earlier)],
            *_facts(converted),
            ("architecture", " or ".join(archs) or "none of maskvd's"),
            ("output", output),
            ("output sha256", sha256_of(output)),
        ]
    )


def _check_output(output: Path, force: bool) -> None:
    if not output.suffix:
        raise ResultError("wrong kind of file", where=output, remedy="name it with .safetensors")
    new_file(output, ".safetensors", force=force)


def _converted(
    source: Path, naming: str | None, arch: str | None
) -> tuple[Converted, list[str], dict[str, str]]:
    """Return the checkpoint under our names, the architectures that have its shapes, and what a
    file of maskvd's own states of its detector, which the new file states too.
    """
    from maskvd_cli.families.checkpoints import read_metadata, read_with_settings
    from maskvd_cli.families.vitdet.fitting import fitted_to, matching_archs
    from maskvd_cli.families.vitdet.namings import get_naming
    from maskvd_cli.families.vitdet.renaming import Converted, to_our_names
    from maskvd_cli.families.vitdet.stated import carried_over
    from maskvd_cli.families.vivit import renaming as recogniser
    from maskvd_cli.families.vivit.fitting import fitting_archs
    from maskvd_cli.families.zoo import get_arch

    wanted = None if arch is None else get_arch(arch)
    if naming not in (None, recogniser.NAMING):
        get_naming(naming)
    tensors, _ = read_with_settings(source)
    _refuse_readable(source, tensors, arch)
    if naming == recogniser.NAMING or (naming is None and recogniser.is_published(tensors)):
        converted = Converted(
            recogniser.to_our_names(tensors, where=source), recogniser.NAMING, dropped={}
        )
        return converted, fitting_archs(converted.tensors, wanted, source), {}
    converted = to_our_names(tensors, naming, where=source)
    is_safe = source.suffix.lower() == ".safetensors"
    metadata = carried_over(read_metadata(source) if is_safe else {}, converted, wanted, source)
    if wanted is None:
        archs = matching_archs(converted)
        named = [match for match in archs if match.name == metadata.get("arch")]
        return converted, [match.name for match in named or archs], metadata
    return fitted_to(converted, wanted, source), [wanted.name], metadata


def _refuse_readable(source: Path, tensors: Mapping[str, Tensor], arch: str | None) -> None:
    """Raise UsageError for a file that sweeps read as it is, under whatever names it has."""
    from maskvd_cli.families.rfdetr.roboflow import is_rfdetr
    from maskvd_cli.families.zoo import entry

    published = arch is not None and arch in entry(arch).family.published
    if published or is_rfdetr(tensors):
        raise UsageError(
            f"{source} needs no converting: {arch or 'RF-DETR'} reads published files as they are",
            remedy="give it as model.weights in a recipe",
        )


def _facts(converted: Converted) -> list[tuple[str, object]]:
    from maskvd_cli.families.vitdet.renaming import listed

    reasons: dict[str, list[str]] = {}
    for name, reason in converted.dropped.items():
        reasons.setdefault(reason, []).append(name)
    parts = {
        "detector": "detector",
        "backbone": "backbone (no pyramid, RPN and box head)",
        "recogniser": "recogniser",
    }
    return [
        ("naming", converted.naming),
        ("contains", parts[converted.contains]),
        ("tensors", len(converted.tensors)),
        ("parameters", f"{sum(tensor.numel() for tensor in converted.tensors.values()):,}"),
        ("dropped", len(converted.dropped)),
        *[("", f"{listed(names)}: {reason}") for reason, names in reasons.items()],
    ]
