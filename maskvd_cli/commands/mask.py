"""`maskvd mask`: heatmap to static mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maskvd_cli.commands.terminal import output_file, print_facts, size_option
from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.core.size import Size

PATCH = 16


def mask(
    heatmap: Annotated[Path, typer.Argument(help="A file made by `maskvd heatmap`.")],
    keep_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="k_s: share of all tokens to keep.")
    ] = 0.3,
    frame: Annotated[
        Size,
        typer.Option(parser=size_option, metavar="RxC", help="Size that frames are stretched to."),
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
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Mask file; a PNG is written beside it.")
    ] = Path("mask.npz"),
) -> None:
    """Turn a heatmap into a static mask of int(keep rate x N) tokens.

    Writes OUTPUT (arrays `mask`, `scores` as token rows x columns, `indices` of kept tokens in
    raster order, and JSON `metadata`) and a PNG. Sizes are rows x columns.

    Example: maskvd mask heatmap.npz --keep-rate 0.3 --frame 370x672 --input 672x672 -o mask.npz
    """
    import torch

    from maskvd_cli import __version__
    from maskvd_cli.masks.padding import real_tokens
    from maskvd_cli.masks.static import static_mask
    from maskvd_cli.report.figures import draw_static_mask
    from maskvd_cli.store.arrays import load_heatmap, save_arrays
    from maskvd_cli.sweep.heatmap import scores_on_input

    counts, made_from = load_heatmap(heatmap)
    output = output_file(output, ".npz")
    if output.resolve() == heatmap.resolve():
        raise UsageError(f"{output} is the heatmap itself; name another file with -o")
    native = made_from.get("coordinates") != "input"
    content = _check_sizes(heatmap, counts.shape, native, frame, input_size)
    scores = scores_on_input(
        torch.from_numpy(counts),
        native=native,
        align=_align(align),
        image=_image_size(heatmap, made_from, align),
        frame=frame,
        input_size=input_size,
        patch=PATCH,
    )
    kept = static_mask(scores, keep_rate)
    grid = input_size.tiles(PATCH)
    real = real_tokens(content, input_size, PATCH)
    metadata = {
        "keep_rate": keep_rate,
        "tokens": int(kept.sum()),
        "frame": str(content),
        "input": str(input_size),
        "patch": PATCH,
        "align": align if native else "input",
        "heatmap": made_from,
        "tool_version": __version__,
    }
    arrays = {
        "mask": kept.view(*grid).numpy(),
        "scores": scores.view(*grid).numpy(),
        "indices": kept.nonzero().flatten().numpy(),
    }
    save_arrays(output, arrays, metadata)
    in_padding = int((kept & ~real).sum())
    picture = output.with_suffix(".png")
    draw_static_mask(
        picture,
        counts,
        arrays["scores"],
        arrays["mask"],
        content=content,
        patch=PATCH,
        titles=(
            f"accumulated heatmap, canvas {Size(*counts.shape)}",
            f"region scores, frame {content}",
            f"static mask, {metadata['tokens']} of {grid.area} tokens"
            + (f" ({in_padding} in padding, not shown)" if in_padding else ""),
        ),
    )
    seen = int((scores > 0).sum())
    print_facts(
        [
            ("keep rate", f"{keep_rate:g} of {grid.area} tokens ({grid} grid)"),
            ("tokens", metadata["tokens"]),
            ("real tokens", f"{int((kept & real).sum())} of {int(real.sum())} (frame {content})"),
            ("in padding", in_padding),
            ("without object", max(0, metadata["tokens"] - seen)),
            ("mask", output),
            ("picture", picture),
        ]
    )


def _align(text: str) -> Any:
    if text not in ("canvas", "image"):
        raise UsageError(f"--align {text}: choose canvas or image")
    return text


def _check_sizes(
    file: Path, shape: tuple[int, ...], native: bool, frame: Size, input_size: Size
) -> Size:
    """Return the frame's size inside the input. Raises UsageError where sizes do not fit."""
    if input_size.rows % PATCH or input_size.cols % PATCH:
        raise UsageError(f"--input {input_size} is no multiple of the {PATCH} x {PATCH} patch")
    if native:
        if frame.rows > input_size.rows or frame.cols > input_size.cols:
            raise UsageError(f"--frame {frame} does not fit into --input {input_size}")
        return frame
    if tuple(shape) != tuple(input_size):
        raise UsageError(
            f"{file} lies on an input of {Size(*shape)}", remedy=f"use --input {Size(*shape)}"
        )
    return input_size


def _image_size(file: Path, metadata: dict[str, Any], align: str) -> Size:
    """Return the native frame size that the heatmap's file states; needed to align by image."""
    text = metadata.get("image_size")
    if not isinstance(text, str):
        if align == "image":
            raise ResultError("metadata has no image_size", where=file, remedy="use --align canvas")
        return Size(1, 1)
    return Size.parse(text)
