"""`maskvd heatmap`: annotations to the object heatmap behind static masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskvd_cli.commands.terminal import output_file, print_facts, say, size_option
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size

PATCH = 16


def heatmap(
    dataset: Annotated[
        str, typer.Option(help="Dataset format: kitti, imagenet-vid or coco-video.")
    ] = "kitti",
    root: Annotated[
        Path | None,
        typer.Option(help="The dataset's folder. Default: the environment variable MASKVD_KITTI."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Default: the dataset's training split.")
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help="'all' annotated boxes, 'protocol' (the evaluated classes), or native class "
            "names with commas: Car,Van."
        ),
    ] = "all",
    canvas: Annotated[
        str | None,
        typer.Option(
            help="Rows x columns for native pixels, or 'input': boxes placed as the model sees "
            "them. Default: the dataset's."
        ),
    ] = None,
    accumulate: Annotated[
        str, typer.Option(help="'sum' counts every box, 'union' every pixel once a frame.")
    ] = "sum",
    input_size: Annotated[
        Size,
        typer.Option("--input", parser=size_option, metavar="RxC", help="For --canvas input."),
    ] = "672x672",  # type: ignore[assignment]
    keep_rate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="For the picture's preview of a static mask only."),
    ] = 0.3,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Heatmap file; a PNG is written beside it.")
    ] = Path("heatmap.npz"),
) -> None:
    """Accumulate annotated boxes into an object heatmap.

    Writes OUTPUT (array `heatmap`, rows x columns, float64, and JSON `metadata`) and a PNG.

    Example: maskvd heatmap --dataset kitti --root DIR --split train-half --classes all
    --canvas 384x1280 -o heatmap.npz
    """
    from maskvd_cli.data.registry import datasets
    from maskvd_cli.masks.static import pad_to, region_scores, static_mask
    from maskvd_cli.report.figures import draw_static_mask
    from maskvd_cli.store.arrays import save_arrays
    from maskvd_cli.sweep.heatmap import HeatmapSpec, make_heatmap

    if accumulate not in ("sum", "union"):
        raise UsageError(f"--accumulate {accumulate}: choose sum or union")
    kind = datasets.load(dataset)
    spec = HeatmapSpec(
        split=split or kind.training_split,
        classes=_classes(classes),
        canvas=_canvas(canvas, kind.canvas),
        accumulate=accumulate,
        input=input_size,
        frame=kind.frame,
    )
    made = make_heatmap(kind, root, spec)
    output = output_file(output, ".npz", made.dataset.root)
    metadata = made.metadata()
    save_arrays(output, {"heatmap": made.counts.numpy()}, metadata)
    if note := made.dataset.tally.note():
        say(f"note: {note}")

    picture = output.with_suffix(".png")
    size = Size(*made.counts.shape)
    grid = size.tiles(PATCH)
    scores = region_scores(pad_to(made.counts, Size(grid.rows * PATCH, grid.cols * PATCH)), PATCH)
    mask = static_mask(scores, keep_rate)
    draw_static_mask(
        picture,
        made.counts.numpy(),
        scores.view(*grid).numpy(),
        mask.view(*grid).numpy(),
        content=size,
        patch=PATCH,
        titles=(
            f"accumulated heatmap, {metadata['boxes']} boxes in {metadata['frames']} frames",
            f"region scores, {PATCH} x {PATCH} pixels of the canvas",
            f"preview: top {keep_rate:.0%} of the canvas's regions",
        ),
    )
    peak = int(made.counts.max())
    print_facts(
        [
            ("dataset", f"{metadata['dataset']} {metadata['split']}, classes {classes}"),
            ("frames", f"{metadata['frames']} in {metadata['clips']} clips"),
            ("boxes", metadata["boxes"]),
            ("canvas", f"{size} (rows x columns), {metadata['coordinates']} pixels"),
            ("sum", f"{int(made.counts.sum()):,}"),
            ("maximum", f"{peak} boxes on one pixel"),
            ("touched", f"{float((made.counts > 0).double().mean()):.1%} of the canvas"),
            ("heatmap", output),
            ("picture", picture),
        ]
    )


def _classes(text: str) -> str | tuple[str, ...]:
    if text in ("all", "protocol"):
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _canvas(text: str | None, default: Size | None) -> Size | None:
    if text is None:
        return default
    if text == "input":
        return None
    try:
        return Size.parse(text)
    except ValueError as error:
        raise UsageError(f"--canvas {error}; or write `input`") from error
