"""`maskvd mask`: heatmap to static mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.patches import Patch
from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    new_file,
    output_file,
    print_facts,
    print_json,
    refuse_existing,
    size_option,
)
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size

if TYPE_CHECKING:
    from maskvd_cli.scenes.static_mask import StaticMask


def mask(
    heatmap: Annotated[
        Path,
        typer.Argument(
            help="A file made by `maskvd heatmap`, or a published .npy such as heatmap_kitti.npy."
        ),
    ],
    keep_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="k_s: share of all tokens to keep.")
    ] = 0.3,
    frame: Annotated[
        Size,
        typer.Option(
            parser=size_option,
            metavar="RxC",
            help="Size that frames are stretched to; a heatmap on the input has its own.",
        ),
    ] = "370x672",  # type: ignore[assignment]
    input_size: Annotated[
        Size,
        typer.Option("--input", parser=size_option, metavar="RxC", help="Padded model input."),
    ] = "672x672",  # type: ignore[assignment]
    align: Annotated[
        str,
        typer.Option(
            help="'canvas' resizes the whole canvas onto the frame (the published code), 'image' "
            "only the part that images cover."
        ),
    ] = "canvas",
    patch: Patch = 16,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Mask file; a PNG is written beside it.")
    ] = Path("mask.npz"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Turn a heatmap into a static mask of int(keep rate x N) tokens.

    Writes OUTPUT (arrays `mask`, `scores` as token rows x columns, `indices` of kept tokens in
    raster order, and JSON `metadata`) and a PNG. Sizes are rows x columns.

    Example: maskvd mask heatmap.npz --keep-rate 0.3 --frame 370x672 --input 672x672 -o mask.npz
    """
    from maskvd_cli.scenes.given_heatmap import read_heatmap_file
    from maskvd_cli.scenes.static_mask import make_static_mask, mask_metadata
    from maskvd_cli.store.arrays import save_arrays

    if output_file(output, ".npz").resolve() == heatmap.resolve():
        raise UsageError(f"{output} is the heatmap itself", remedy="name another file with -o")
    output = new_file(output, ".npz", force=force)
    picture = output.with_suffix(".png")
    refuse_existing(picture, force=force)
    if align not in ("canvas", "image"):
        raise UsageError(f"--align {align}: choose canvas or image")
    counts, made_from = read_heatmap_file(heatmap)
    made = make_static_mask(
        counts,
        made_from,
        heatmap,
        keep_rate=keep_rate,
        frame=frame,
        input_size=input_size,
        align=align,
        patch=patch,
    )
    metadata = mask_metadata(made, keep_rate, align, made_from)
    save_arrays(output, made.arrays(), metadata)
    _draw(made, counts, picture)
    if as_json:
        print_json({**metadata, "file": output, "picture": picture})
    else:
        _print(made, keep_rate, output)


def _draw(made: StaticMask, counts: Any, picture: Path) -> None:
    from maskvd_cli.render.figures import draw_static_mask

    hidden = int((made.mask & ~made.real).sum())
    draw_static_mask(
        picture,
        counts,
        made.scores,
        made.mask,
        content=made.content or made.input,
        patch=made.patch,
        titles=(
            f"accumulated heatmap, canvas {Size(*counts.shape)}",
            f"region scores, {'frame' if made.content else 'input'} {made.content or made.input}",
            f"static mask, {made.mask.sum()} of {made.mask.size} tokens"
            + (f" ({hidden} in padding, not shown)" if hidden else ""),
        ),
    )


def _print(made: StaticMask, keep_rate: float, output: Path) -> None:
    kept, real = made.mask, made.real
    facts = [
        ("keep rate", f"{keep_rate:g} of {kept.size} tokens ({Size(*kept.shape)} grid)"),
        ("tokens", int(kept.sum())),
    ]
    if made.content is not None:
        facts += [
            ("real tokens", f"{(kept & real).sum()} of {real.sum()} (frame {made.content})"),
            ("in padding", int((kept & ~real).sum())),
        ]
    facts += [
        ("without object", int((kept & (made.scores == 0)).sum())),
        ("mask", output),
        ("picture", output.with_suffix(".png")),
    ]
    print_facts(facts)
