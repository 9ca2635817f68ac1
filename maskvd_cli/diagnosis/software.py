"""Python, torch, torchvision and what draws films: versions that fit, parts that work."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from maskvd_cli.diagnosis.finding import Checkup

_NAME = "maskvd"
# The newest releases that the tests ran with; the oldest are those that the package demands.
NEWEST_TESTED = {
    "torch": "2.15",
    "torchvision": "0.29",
    "numpy": "2.5",
    "opencv-python-headless": "5.0",
    "pandas": "3.1",
    "pillow": "13.0",
    "pyarrow": "26.0",
    "pydantic": "2.14",
}


def software_findings() -> Iterator[Checkup]:
    """Yield Python, torch, torchvision, other packages and the video encoder."""
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
        yield Checkup("torchvision", "problem", "is not installed", "pip install torchvision")
    yield from package_findings(needed, _installed)
    yield _film()


def python_finding(found: str, classifiers: Iterable[str]) -> Checkup:
    """Compare a version of Python with those that maskvd names as tested."""
    pattern = re.compile(r"Programming Language :: Python :: (\d+\.\d+)")
    tested = [match[1] for line in classifiers if (match := pattern.fullmatch(line))]
    if not tested:
        remedy = "pip install maskvd, so that its versions are known"
        return Checkup("Python", "note", f"{found}; maskvd is not installed as a package", remedy)
    if ".".join(found.split(".")[:2]) in tested:
        return Checkup("Python", "ok", found)
    known = ", ".join(tested)
    return Checkup("Python", "note", f"{found}, not among the tested ones", f"use one of {known}")


def torch_finding(found: str, needed: Iterable[str]) -> Checkup:
    """Compare torch with the oldest version that maskvd takes and the newest that it knows."""
    return _range_finding("torch", found, _bound(needed, "torch", ">="))


def package_findings(
    needed: Iterable[str], installed: Callable[[str], str | None]
) -> Iterator[Checkup]:
    """Yield one finding for each package, other than torch, outside of its tested range.

    `needed` are the requirements of maskvd; those of its extras count where they are installed.
    """
    for line in needed:
        match = re.match(r"[\w.-]+", line)
        name = match[0].lower() if match else ""
        if name in ("", "torch", _NAME):
            continue
        found, is_extra = installed(name), "extra ==" in line
        if found is None:
            if not is_extra:
                yield Checkup(name, "problem", "is not installed", f"pip install {name}")
            continue
        finding = _range_finding(name, found, _bound([line], match[0] if match else "", ">="))
        if finding.state != "ok":
            yield finding


def _range_finding(name: str, found: str, oldest: str | None) -> Checkup:
    """Compare a version with the oldest that is taken and the newest that was tested."""
    newest = NEWEST_TESTED.get(name)
    if oldest and _numbers(found) < _numbers(oldest):
        both = " torchvision" if name == "torch" else ""
        remedy = f"pip install '{name}>={oldest}'{both}"
        return Checkup(name, "problem", f"{found}, older than {oldest}", remedy)
    if newest and _numbers(found)[: len(_numbers(newest))] > _numbers(newest):
        text = f"{found}, newer than {newest}, the newest that was tested"
        return Checkup(name, "note", text, "run the tests (make test), or use a tested version")
    return Checkup(name, "ok", found)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def torchvision_finding(found: str, needed: Iterable[str]) -> Checkup:
    """Compare installed torch with the one that torchvision was built for, and run its NMS."""
    built_for, torch_version = _bound(needed, "torch", "=="), version("torch")
    remedy = "pip install --force-reinstall torch torchvision"
    if built_for and _numbers(built_for) != _numbers(torch_version):
        text = f"{found} was built for torch {built_for}, and {torch_version} is installed"
        return Checkup("torchvision", "problem", text, remedy)
    try:
        kept = _nms()
    except (ImportError, RuntimeError, AttributeError) as error:
        text = f"{found}: its operators do not load ({str(error).splitlines()[0][:120]})"
        return Checkup("torchvision", "problem", text, remedy)
    if kept != [0, 2]:
        return Checkup("torchvision", "problem", f"{found}: its NMS keeps {kept}", remedy)
    return Checkup("torchvision", "ok", f"{found}, built for this torch")


def _nms() -> list[int]:
    """Run NMS on two boxes that overlap and one that does not."""
    import torch  # noqa: PLC0415 - a broken pair of packages must not end all other checks
    from torchvision.ops import nms  # noqa: PLC0415

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    return nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()


def _film() -> Checkup:
    try:
        import av  # noqa: PLC0415 - optional
        import av.codec  # noqa: PLC0415
    except ImportError:
        text = "PyAV is not installed, so no films can be written"
        return Checkup("video encoder", "note", text, "pip install av")
    try:
        av.codec.Codec("libx264", "w")
    except ValueError:
        text = f"PyAV {av.__version__} has no libx264, so no MP4 films can be written"
        return Checkup("video encoder", "note", text, "pip install --force-reinstall av")
    return Checkup("video encoder", "ok", f"libx264 by PyAV {av.__version__}")


def _bound(needed: Iterable[str], package: str, relation: str) -> str | None:
    """Return the version that a requirement names: `torch<3,>=2.6` gives 2.6 for `>=`."""
    pattern = re.compile(rf"{re.escape(package)}(?![\w.-])[^;]*?{relation}\s*([\w.]+)")
    matches = (pattern.match(line) for line in needed)
    return next((match[1] for match in matches if match), None)


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release of a version: 2.6.0+cu124 gives (2, 6, 0)."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()
