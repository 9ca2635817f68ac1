"""`maskvd heatmap`: annotations to the object heatmap behind static masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.patches import Patch
from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    new_file,
    print_facts,
    print_json,
    reading_annotations,
    refuse_datasets,
    refuse_existing,
    say,
    size_option,
)
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from maskvd_cli.scenes.heatmap import Heatmap


def heatmap(
    dataset: Annotated[
        str, typer.Option(help="Dataset format: kitti, imagenet-vid, coco-video or synthetic.")
    ] = "kitti",
    root: Annotated[
        Path | None,
        typer.Option(help="The dataset's folder. Default: $MASKVD_KITTI, $MASKVD_VID, ..."),
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
    frame: Annotated[
        Size | None,
        typer.Option(
            parser=size_option,
            metavar="RxC",
            help="For --canvas input: the frame within the input. Default: the dataset's at its "
            "own input, else frames keep their aspect.",
        ),
    ] = None,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many clips. Default: all.")
    ] = None,
    keep_rate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="For the picture's preview of a static mask only."),
    ] = 0.3,
    patch: Patch = 16,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Heatmap file; a PNG is written beside it.")
    ] = Path("heatmap.npz"),
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Accumulate annotated boxes into an object heatmap.

    Writes OUTPUT (array `heatmap`, rows x columns, float64, and JSON `metadata`) and a PNG.

    Example: maskvd heatmap --dataset kitti --root DIR --split train-half --classes all
    --canvas 384x1280 -o heatmap.npz
    """
    from maskvd_cli.data.registry import datasets
    from maskvd_cli.scenes.heatmap import HeatmapSpec, make_heatmap
    from maskvd_cli.store.arrays import save_arrays

    output = new_file(output, ".npz", force=force)
    refuse_existing(output.with_suffix(".png"), force=force)
    if accumulate not in ("sum", "union"):
        raise UsageError(f"--accumulate {accumulate}: choose sum or union")
    kind = datasets.load(dataset)
    spec = HeatmapSpec.of(
        kind,
        split=split,
        classes=[name.strip() for name in classes.split(",") if name.strip()],
        canvas=canvas,
        accumulate=accumulate,
        input_size=input_size,
        frame=frame or kind.frame_at(input_size),
        clips=clips,
    )
    with reading_annotations():
        made = make_heatmap(kind, root, spec)
    refuse_datasets(output, made.dataset.root)
    save_arrays(output, {"heatmap": made.counts.numpy()}, made.metadata())
    _draw(made, keep_rate, patch, output.with_suffix(".png"))
    for remark in made.dataset.remarks():
        say(f"note: {remark}")
    if as_json:
        print_json(_content(made, output))
    else:
        _print(made, output)


def _draw(made: Heatmap, keep_rate: float, patch: int, picture: Path) -> None:
    from maskvd_cli.render.figures import draw_static_mask
    from maskvd_cli.scenes.static_mask import preview

    counts = made.counts.numpy()
    shown = preview(counts, keep_rate, patch)
    draw_static_mask(
        picture,
        counts,
        shown.scores,
        shown.mask,
        content=Size(*counts.shape),
        patch=patch,
        titles=(
            f"accumulated heatmap, {counted(len(made.gathered.xyxy), 'box', 'boxes')}, "
            f"{counted(made.gathered.frames, 'frame')}",
            f"region scores, {patch} x {patch} pixels of the canvas",
            f"preview: top {keep_rate:.0%} of the canvas's regions",
        ),
    )


def _content(made: Heatmap, output: Path) -> dict[str, Any]:
    counts = made.counts
    return {
        **made.metadata(),
        "sum": int(counts.sum()),
        "maximum": int(counts.max()),
        "touched_share": float((counts > 0).double().mean()),
        "file": output,
        "picture": output.with_suffix(".png"),
    }


def _print(made: Heatmap, output: Path) -> None:
    metadata, counts = made.metadata(), made.counts
    classes = metadata["classes"]
    print_facts(
        [
            ("dataset", f"{metadata['dataset']} {metadata['split']}"),
            ("classes", classes if isinstance(classes, str) else ", ".join(classes)),
            ("frames", f"{metadata['frames']} in {counted(metadata['clips'], 'clip')}"),
            ("boxes", metadata["boxes"]),
            ("canvas", f"{metadata['canvas']} (rows x columns), {metadata['coordinates']} pixels"),
            ("sum", f"{int(counts.sum()):,}"),
            ("maximum", _boxes_on_a_pixel(int(counts.max()))),
            ("touched", f"{float((counts > 0).double().mean()):.1%} of the canvas"),
            ("heatmap", output),
            ("picture", output.with_suffix(".png")),
        ]
    )


def _boxes_on_a_pixel(number: int) -> str:
    # As papers and `heatmap.npz` write it, without commas.
    return f"{number} {'box' if number == 1 else 'boxes'} on one pixel"
