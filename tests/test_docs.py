"""The documentation says what the code does: generated parts, commands, links, examples."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
import typer.main
import yaml
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import RecipeError
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.shipped import shipped_recipes, shipped_trainings
from maskvd_cli.store.schema import Stored
from maskvd_cli.work.catalog import catalog

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [*PAGES, ROOT / "README.md"]
MEND = "run .venv/bin/python docs/generate.py"


def _blocks(page: Path, language: str) -> list[str]:
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [inspect.cleandoc("\n" + text) + "\n" for _, text in found]


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.M))


def _command_lines() -> Iterator[tuple[str, str]]:
    """Yield every `maskvd ...` of fenced shell blocks and of inline code, with its page."""
    for page in PAGES:
        name = str(page.relative_to(DOCS))
        text = page.read_text("utf-8")
        shell = [re.sub(r" \\\n\s*", " ", block) for block in _blocks(page, "bash")]
        lines = [line for block in shell for line in block.splitlines()]
        inline = re.findall(r"`(maskvd [a-z][^`]*)`", re.sub(r"\s*\n\s*", " ", text))
        for line in [*lines, *inline]:
            found = re.match(r"(?:\.venv/bin/)?maskvd (.+?)(?:\s+#.*| > .*)?$", line.strip())
            if found:
                yield name, found[1]


COMMANDS = sorted(set(_command_lines()))


def _module(path: Path, name: str) -> ModuleType:
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}; {MEND}"


def test_the_generator_notices_what_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "docs"
    shutil.copytree(DOCS, copied)
    page, figure = copied / "methods" / "maskvd.md", copied / "images" / "methods" / "stgt.svg"
    good = page.read_text("utf-8")
    page.write_text(good.replace("| `period` |", "| `perod` |"), "utf-8")
    figure.unlink()
    generate = _module(copied / "generate.py", "generate_of_a_copy")
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr()
    assert told.out.split() == [
        "stale:", "docs/images/methods/stgt.svg", "stale:", "docs/methods/maskvd.md"
    ]  # fmt: skip
    assert "docs/generate.py" in told.err
    assert generate.main([]) == 0
    assert page.read_text("utf-8") == good
    assert figure.read_bytes() == (DOCS / "images" / "methods" / "stgt.svg").read_bytes()


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{p}: {c}" for p, c in COMMANDS])
def test_every_command_line_can_be_given(page: str, line: str) -> None:
    group: Any = typer.main.get_command(app)
    name, *words = shlex.split(line)
    if name.isupper():
        return
    if name.startswith("-"):
        assert name in ("--help", "--version", "--install-completion")
        return
    assert name in group.commands, f"{page}: there is no command {name}"
    command = group.commands[name]
    context = typer.Context(command)
    known = {name for param in command.get_params(context) for name in param.opts}
    known |= {name for param in command.get_params(context) for name in param.secondary_opts}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    assert set(options) <= known | {"-h", "--help"}, f"{page}: {line}"
    _, rest, _ = command.make_parser(context).parse_args(args=[
        word for word in words if word not in ("-h", "--help")
    ])  # fmt: skip
    assert not rest, f"{page}: {line}: too many arguments"
    if name in ("sweep", "train", "validate") and words and words[0].islower():
        shipped = shipped_trainings() if name == "train" else shipped_recipes()
        assert words[0].startswith("-") or "." in words[0] or words[0] in shipped, line


def test_the_command_page_has_every_command_and_option() -> None:
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    group: Any = typer.main.get_command(app)
    sections = dict(re.findall(r"^## maskvd (\S+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.M))
    assert set(sections) == set(group.commands), MEND
    for name, text in sections.items():
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        listed = shown.partition("\nOptions:")[2]
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", _first_column(listed)):
            if option not in ("-h", "--help"):
                assert re.search(rf"`[^`]*{re.escape(option)}\b", text), f"{name} {option}: {MEND}"


def _first_column(listed: str) -> str:
    return "\n".join(
        re.split(r"\s{2,}", line.strip())[0]
        for line in listed.splitlines()
        if re.match(r"  -", line)
    )


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_is_there(page: Path) -> None:
    missing: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in _anchors(there)
        ):
            missing.append(target)
    assert not missing


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def test_every_method_has_a_page_and_a_figure() -> None:
    index = (DOCS / "methods" / "index.md").read_text("utf-8")
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for name in methods.names():
        slug = name.replace("+", "-")
        page = DOCS / "methods" / f"{slug}.md"
        assert page.is_file(), f"write {page.relative_to(ROOT)} about {name}"
        text = page.read_text("utf-8")
        assert f"<!-- begin generated: parameters {name} -->" in text
        assert f"../images/methods/{slug}.svg" in text
        assert f"({slug}.md)" in index
        assert f"methods/{slug}.md" in nav


def test_every_stored_model_is_described() -> None:
    from maskvd_cli.store import measured, schema

    page = (DOCS / "reference" / "results.md").read_text("utf-8")
    for module in (schema, measured):
        for name, kind in vars(module).items():
            own = isinstance(kind, type) and kind.__module__ == module.__name__
            if own and issubclass(kind, Stored) and kind is not Stored:
                assert f"fields {module.__name__}:{name} " in page


def test_every_quantity_is_described() -> None:
    from maskvd_cli.core.counts import COUNTED
    from maskvd_cli.metrics.registry import metrics
    from maskvd_cli.tasks.registry import tasks

    page = (DOCS / "reference" / "results.md").read_text("utf-8")
    every = [quantity.name for quantity in COUNTED]
    for task in map(tasks.load, tasks.names()):
        every += [quantity.name for quantity in task.counted]
    for metric in map(metrics.load, metrics.names()):
        for task in map(tasks.load, tasks.names()):
            every += [quantity.name for quantity in metric.yields(task)]
    assert len(set(every)) >= 24
    assert [name for name in every if f"\n| `{name}` |" not in page] == []


def test_the_example_recipe_is_read_and_its_mistake_told(tmp_path: Path) -> None:
    page = DOCS / "reference" / "recipes.md"
    text, file = _blocks(page, "yaml")[0], tmp_path / "mine.yaml"
    file.write_text(text)
    points = load_recipe(file, catalog()).points
    assert f"{len(points)} points" in page.read_text("utf-8")
    file.write_text(text.replace("period:", "perod:"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, catalog())
    assert str(caught.value).replace(f"{tmp_path}/", "") == _blocks(page, "text")[0].strip()


@pytest.mark.parametrize("page", ["tutorial.md", "how-to/use-your-own-weights.md"])
def test_whole_recipes_are_read(page: str, tmp_path: Path) -> None:
    from maskvd_cli.training.load import load_training

    whole = [text for text in _blocks(DOCS / page, "yaml") if text.startswith("schema: 1")]
    assert len(whole) == 1
    file = tmp_path / "mine.yaml"
    file.write_text(whole[0])
    if yaml.safe_load(whole[0]).get("kind") == "training":
        assert load_training(file, []).recipe.name == "mine"
    else:
        assert load_recipe(file, catalog()).points


def test_the_annotations_of_the_tutorial_are_read(tmp_path: Path) -> None:
    from maskvd_cli.data.coco_video import CocoVideo
    from maskvd_cli.data.kitti import Kitti

    (example,) = _blocks(DOCS / "tutorial.md", "json")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "val.json").write_text(example)
    (clip,) = CocoVideo(tmp_path).clips()
    assert (clip.name, len(clip)) == ("gate-3", 2)
    assert clip.frames[1].boxes.xyxy.tolist() == [[408.0, 220.0, 468.0, 400.0]]
    labels = tmp_path / "training" / "label_02"
    labels.mkdir(parents=True)
    (labels / "0000.txt").write_text(_blocks(DOCS / "tutorial.md", "text")[0])
    boxes = [frame.boxes for half in ("train-half", "val-half") for clip in Kitti(
        tmp_path, half).clips() for frame in clip.frames]  # fmt: skip
    assert [len(found) for found in boxes] == [1, 1]
    assert boxes[0].xyxy[0].tolist() == [296.7, 161.8, 455.2, 292.4]


def _package(page: str, folder: Path) -> str:
    """Install a how-to's package into a folder as pip would; return the name it registers."""
    code = _blocks(DOCS / "how-to" / page, "python")[0]
    project = tomllib.loads(_blocks(DOCS / "how-to" / page, "toml")[0])
    ((group, entries),) = project["project"]["entry-points"].items()
    ((name, target),) = entries.items()
    (folder / f"{target.partition(':')[0]}.py").write_text(code)
    info = folder / "example-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    return name


def _maskvd(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "maskvd_cli", *words],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        check=False, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_method_is_found_and_swept(tmp_path: Path) -> None:
    name = _package("add-a-method.md", tmp_path)
    data = tmp_path / "kitti"
    words = ["synth", "-o", str(data), "--clips", "2", "--frames", "8", "--no-images"]
    assert CliRunner().invoke(app, words).exit_code == 0
    (line,) = [line for _, line in COMMANDS if "checkerboard" in line]
    words = [*shlex.split(line), "--root", str(data), "--results", "results", "--quiet"]
    _maskvd(tmp_path, *words)
    points = [json.loads(file.read_text()) for file in tmp_path.glob("results/*/*/points/*.json")]
    own = [point for point in points if point["method"] == name]
    found = {point["params"]["side"]: point["metrics"]["tokens"] for point in own}
    # Of the 4 frames of a clip's second half one is full. The others hold half of the 42 x 42
    # tokens; of 21 x 21 squares of four tokens that is 220, 221 and 220.
    assert found == {1: (1764 + 3 * 882) / 4, 2: (1764 + 880 + 884 + 880) / 4}


def test_the_example_method_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _package("add-a-method.md", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(methods, "_targets", {**methods._targets, name: f"{name}:Checkerboard"})
    contract = _module(ROOT / "tests" / "methods" / "test_contract.py", "contract_of_the_docs")
    promises = [
        made
        for made in vars(contract).values()
        if inspect.isfunction(made) and {"case", "arch"} <= set(inspect.signature(made).parameters)
        and made.__name__.startswith("test_")
    ]  # fmt: skip
    assert len(promises) >= 8
    for params in ({"period": 3}, {"period": 3, "side": 2, "version": "T"}):
        case = contract.Case(name, params, {"period": 1})
        for promise in promises:
            _keeps(promise, case, contract.WINDOWED)
    for promise in promises:
        _keeps(promise, contract.Case(name, {"period": 3}, {"period": 1}), contract.PLAIN)


def _keeps(promise: Callable[..., None], case: object, arch: object) -> None:
    if "dtype" not in inspect.signature(promise).parameters:
        promise(case, arch)
        return
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        promise(case=case, arch=arch, dtype=dtype)


def test_the_example_metric_is_found_measured_and_shown(tmp_path: Path) -> None:
    name = _package("add-a-metric.md", tmp_path)
    (recipe,) = _blocks(DOCS / "how-to" / "add-a-metric.md", "yaml")
    (tmp_path / f"{name}.yaml").write_text(recipe)
    (line,) = [line for _, line in COMMANDS if line == f"sweep {name}.yaml"]
    assert name in [row["metric"] for row in json.loads(_maskvd(tmp_path, "ls", "metrics",
                                                                "--json"))]  # fmt: skip
    _maskvd(tmp_path, *shlex.split(line), "--quiet")
    files = list(tmp_path.glob(f"results/*/*/measured/{name}/*.json"))
    records = [json.loads(file.read_text("utf-8")) for file in files]
    kept = {record["key"].split("-")[0]: record["values"]["kept_kb"]["value"] for record in records}
    assert [record["protocol"]["frames"] for record in records] == [3, 3]
    assert kept["dense"] == 0
    # QKV of 12 blocks and the last output: 37 arrays of 480 tokens, 128 wide, in float32.
    assert kept["maskvd"] == 37 * 480 * 128 * 4 / 1e3
    told = _maskvd(tmp_path, "report", "results", "--format", "markdown")
    assert "kept kB" in told


def test_the_example_dataset_is_found_and_read(tmp_path: Path) -> None:
    name = _package("add-a-dataset.md", tmp_path)
    clips = tmp_path / "data" / "val"
    clips.mkdir(parents=True)
    rows = ["frame,class,x1,y1,x2,y2", "0,person,10,20,30,60", "2,vehicle,100,100,1400,300"]
    (clips / "gate.csv").write_text("\n".join(rows))
    assert name in [row["dataset"] for row in json.loads(_maskvd(tmp_path, "ls", "datasets",
                                                                 "--json"))]  # fmt: skip
    module = _module(tmp_path / "csv_clips.py", "csv_clips_of_the_docs")
    (clip,) = module.CsvClips(tmp_path / "data").clips()
    assert [len(frame.boxes) for frame in clip.frames] == [1, 0, 1]
    assert clip.frames[2].boxes.xyxy.tolist() == [[100.0, 100.0, 1280.0, 300.0]]
    (clips / "gate.csv").write_text("\n".join([*rows, "3,ghost,1,1,2,2"]))
    with pytest.raises(Exception, match=r"gate\.csv: frame 3: unknown class 'ghost'"):
        list(module.CsvClips(tmp_path / "data").clips())


@pytest.mark.skipif(
    not (find_spec("mkdocs") and find_spec("material")),
    reason="mkdocs-material is not installed: pip install 'maskvd[docs]'",
)
def test_the_site_is_built_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(site)],
        check=False, cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        html = page.read_text("utf-8")
        fetched = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', html)
        fetched += re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"', html)
        fetched += re.findall(r'<link[^>]+href="([^"]+)"[^>]+rel="stylesheet"', html)
        assert fetched
        assert not [url for url in fetched if re.match(r"(https?:)?//", url)], page
