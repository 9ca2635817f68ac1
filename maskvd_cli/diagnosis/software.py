"""Python, torch, torchvision and what draws films: versions that fit, parts that work."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from maskvd_cli.diagnosis.finding import Finding

_NAME = "maskvd"


def software_findings() -> Iterator[Finding]:
    """Yield Python, torch, torchvision and the video encoder of this installation."""
    try:
        classifiers = metadata(_NAME).get_all("Classifier") or []
        needed = requires(_NAME) or []
    except PackageNotFoundError:
        classifiers, needed = [], []
    yield python_finding(platform.python_version(), classifiers)
    yield torch_finding(version("torch"), needed)
    try:
        yield torchvision_finding(version("torchvision"), requires("torchvision") or [])
    except PackageNotFoundError:
        yield Finding("torchvision", "problem", "is not installed", "pip install torchvision")
    yield _film()


def python_finding(found: str, classifiers: Iterable[str]) -> Finding:
    """Compare a version of Python with those that maskvd names as tested."""
    pattern = re.compile(r"Programming Language :: Python :: (\d+\.\d+)")
    tested = [match[1] for line in classifiers if (match := pattern.fullmatch(line))]
    if not tested:
        remedy = "pip install maskvd, so that its versions are known"
        return Finding("Python", "note", f"{found}; maskvd is not installed as a package", remedy)
    if ".".join(found.split(".")[:2]) in tested:
        return Finding("Python", "ok", found)
    known = ", ".join(tested)
    return Finding("Python", "note", f"{found}, not among the tested ones", f"use one of {known}")


def torch_finding(found: str, needed: Iterable[str]) -> Finding:
    """Compare torch with the oldest version that maskvd takes."""
    oldest = _bound(needed, "torch", ">=")
    if oldest and _numbers(found) < _numbers(oldest):
        remedy = f"pip install 'torch>={oldest}' torchvision"
        return Finding("torch", "problem", f"{found}, older than {oldest}", remedy)
    return Finding("torch", "ok", found)


def torchvision_finding(found: str, needed: Iterable[str]) -> Finding:
    """Compare installed torch with the one that torchvision was built for, and run its NMS."""
    built_for, torch_version = _bound(needed, "torch", "=="), version("torch")
    remedy = "pip install --force-reinstall torch torchvision"
    if built_for and _numbers(built_for) != _numbers(torch_version):
        text = f"{found} was built for torch {built_for}, and {torch_version} is installed"
        return Finding("torchvision", "problem", text, remedy)
    try:
        kept = _nms()
    except (ImportError, RuntimeError, AttributeError) as error:
        text = f"{found}: its operators do not load ({str(error).splitlines()[0][:120]})"
        return Finding("torchvision", "problem", text, remedy)
    if kept != [0, 2]:
        return Finding("torchvision", "problem", f"{found}: its NMS keeps {kept}", remedy)
    return Finding("torchvision", "ok", f"{found}, built for this torch")


def _nms() -> list[int]:
    """Run NMS on two boxes that overlap and one that does not."""
    import torch  # noqa: PLC0415 - a broken pair of packages must not end all other checks
    from torchvision.ops import nms  # noqa: PLC0415

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    return nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()


def _film() -> Finding:
    try:
        import av  # noqa: PLC0415 - optional
        import av.codec  # noqa: PLC0415
    except ImportError:
        text = "PyAV is not installed, so no films can be written"
        return Finding("video encoder", "note", text, "pip install av")
    try:
        av.codec.Codec("libx264", "w")
    except ValueError:
        text = f"PyAV {av.__version__} has no libx264, so no MP4 films can be written"
        return Finding("video encoder", "note", text, "pip install --force-reinstall av")
    return Finding("video encoder", "ok", f"libx264 by PyAV {av.__version__}")


def _bound(needed: Iterable[str], package: str, relation: str) -> str | None:
    """Return the version that a requirement names: `torch>=2.6` gives 2.6."""
    pattern = re.compile(rf"{package}\s*\(?{relation}\s*([\w.]+)")
    found = (pattern.match(line) for line in needed)
    return next((match[1] for match in found if match), None)


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release of a version: 2.6.0+cu124 gives (2, 6, 0)."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()
