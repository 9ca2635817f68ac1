"""`maskvd convert` as a user types it."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor
from typer.testing import CliRunner, Result

from maskvd_cli import app as maskvd
from maskvd_cli.commands.convert import convert
from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import read_metadata, read_tensors, save, sha256_of
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.store.runs import runs_below

app = typer.Typer(cls=maskvd.app.info.cls, rich_markup_mode=None)
app.callback()(lambda: None)
app.command()(convert)

LAYERS = {
    "norm1": (1, None), "attn.qkv": (3, 1), "attn.proj": (1, 1), "norm2": (1, None),
    "mlp.fc1": (4, 1), "mlp.fc2": (1, 4),
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    square = {"position_table": Size(21, 21), "window": Size(7, 7)}
    table = Size(21, 21)
    for name, arch, relative in (
        ("small", get_arch("vitdet-ti"), table),
        ("small-global", get_arch("vitdet-ti-global"), None),
    ):
        made = replace(arch, name=name, relative_table=relative, **square)
        monkeypatch.setitem(ARCHS, name, made)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def fact(done: Result, name: str) -> str:
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{name}  "))
    return line.removeprefix(name).strip()


def timm_backbone(dim: int = 128, side: int = 21, patch: int = 16) -> dict[str, Tensor]:
    """A plain ViT of 12 blocks in float16; by default with the numbers of small-global."""
    names: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + side * side, dim),
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
        "head.weight": (10, dim),
        "head.bias": (10,),
    }
    for block in range(12):
        for layer, (out, into) in LAYERS.items():
            weight = (out * dim,) if into is None else (out * dim, into * dim)
            names[f"blocks.{block}.{layer}.weight"] = weight
            names[f"blocks.{block}.{layer}.bias"] = (out * dim,)
    return {
        name: torch.tensor(float(number), dtype=torch.float16).expand(shape).contiguous()
        for number, (name, shape) in enumerate(names.items(), 1)
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mae.pth"
    torch.save({"model": timm_backbone()}, path)
    return path


def test_a_timm_backbone(source: Path) -> None:
    done = run(source, "out.safetensors")
    assert done.exit_code == 0, done.output
    tensors, metadata = (
        read_tensors(Path("out.safetensors")),
        read_metadata(Path("out.safetensors")),
    )
    assert tensors["backbone.class_token"].unique().tolist() == [1 + 2]
    assert tensors["backbone.positions"].shape == (21, 21, 128)
    assert tensors["backbone.positions"].dtype == torch.float16
    assert tensors["backbone.blocks.11.qkv.weight"].shape == (384, 128)
    assert metadata["source_naming"] == "timm"
    assert metadata["source_sha256"] == sha256_of(source)
    assert metadata["contains"] == "backbone"
    assert metadata["arch"] == "small-global"
    assert set(json.loads(metadata["dropped"])) == {"head.weight", "head.bias"}
    assert fact(done, "naming") == "timm"
    assert fact(done, "contains").startswith("backbone (no pyramid")
    assert fact(done, "tensors") == str(len(tensors)) == str(len(timm_backbone()) - 2)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    assert fact(done, "parameters") == f"{parameters:,}"
    assert fact(done, "dropped") == "2"
    assert "head.weight, head.bias: a classifier's layer" in done.stdout
    assert fact(done, "architecture") == "small-global"
    assert fact(done, "output sha256") == sha256_of(Path("out.safetensors"))
    assert done.stderr == ""


def test_the_same_source_gives_the_same_bytes(source: Path) -> None:
    assert run(source, "one.safetensors").exit_code == 0
    assert run(source, "two.safetensors", "--arch", "small-global").exit_code == 0
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()


def test_our_own_files_convert_to_the_same_tensors(source: Path) -> None:
    run(source, "one.safetensors")
    done = run("one.safetensors", "two.safetensors")
    assert done.exit_code == 0, done.output
    assert fact(done, "naming") == "own"
    one, two = read_tensors(Path("one.safetensors")), read_tensors(Path("two.safetensors"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_detector_of_no_known_architecture_is_told(golden_root: Path) -> None:
    done = run(golden_root / "pipeline_64.npz", "out.safetensors")
    assert done.exit_code == 0, done.output
    assert fact(done, "naming") == "eventful"
    assert fact(done, "contains") == "detector"
    assert fact(done, "architecture") == "none of maskvd's"
    assert "no architecture of maskvd has these shapes" in done.stderr
    assert "arch" not in read_metadata(Path("out.safetensors"))
    assert len(read_tensors(Path("out.safetensors"))) == 103


def test_the_architecture_asked_for_is_checked(source: Path) -> None:
    done = run(source, "out.safetensors", "--arch", "vitdet-b-global")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {source}: is no vitdet-b-global: ")
    assert "backbone.positions is 21x21x128, expected 14x14x768" in done.stderr
    assert "and" in done.stderr
    assert done.stdout == ""
    assert not Path("out.safetensors").exists()
    done = run(source, "out.safetensors", "--arch", "small")
    assert done.exit_code == 2
    assert "24 missing: backbone.blocks.0.relative.rows" in done.stderr
    assert "class_token" not in done.stderr


def test_names_that_nobody_knows(source: Path) -> None:
    done = run(source, "out.safetensors", "--arch", "small-globl")
    assert (done.exit_code, "did you mean 'small-global'" in done.stderr) == (2, True)
    done = run(source, "out.safetensors", "--naming", "tim")
    assert (done.exit_code, "did you mean 'timm'" in done.stderr) == (2, True)
    done = run(source, "out.safetensors", "--naming", "eventful")
    assert (done.exit_code, "naming 'eventful' does not know" in done.stderr) == (2, True)
    assert not Path("out.safetensors").exists()


def test_nothing_is_overwritten_without_force(source: Path) -> None:
    Path("out.safetensors").write_text("precious")
    done = run(source, "out.safetensors")
    assert done.exit_code == 2
    assert done.stderr == "error: out.safetensors: exists; choose another name, or --force\n"
    assert Path("out.safetensors").read_text() == "precious"
    assert run(source, "out.safetensors", "--force").exit_code == 0
    assert read_metadata(Path("out.safetensors"))["source_naming"] == "timm"


def test_a_failure_leaves_the_old_file_in_spite_of_force(source: Path) -> None:
    Path("out.safetensors").write_text("precious")
    content = timm_backbone()
    del content["norm.bias"]
    torch.save(content, source)
    done = run(source, "out.safetensors", "--force")
    assert done.exit_code == 2
    assert "1 missing (in our names): backbone.final_norm.bias" in done.stderr
    assert Path("out.safetensors").read_text() == "precious"


@pytest.mark.parametrize("name", ["out", "out.pth", "out.safetensors.gz"])
def test_the_output_is_safetensors(name: str, source: Path) -> None:
    done = run(source, name)
    assert done.exit_code == 2
    assert "name it with .safetensors" in done.stderr
    assert not Path(name).exists()


def test_an_output_that_is_a_folder(source: Path) -> None:
    Path("out.safetensors").mkdir()
    done = run(source, "out.safetensors", "--force")
    assert (done.exit_code, "is a folder" in done.stderr) == (2, True)


SHIPPED = Path(__file__).parents[2] / "recipes" / "weights" / "vitdet-ti.safetensors"


@pytest.mark.parametrize("arguments", [(), ("--arch", "vitdet-ti")])
def test_what_our_own_file_states_is_kept(arguments: tuple[str, ...]) -> None:
    done = run(SHIPPED, "c.safetensors", *arguments)
    assert done.exit_code == 0, done.output
    before, after = read_metadata(SHIPPED), read_metadata(Path("c.safetensors"))
    for key in ("heads", "classes", "input", "frame", "arch", "dataset", "annotations", "seed",
                "steps", "recipe", "split", "protocol"):  # fmt: skip
        assert after[key] == before[key]
    assert after["source_sha256"] == sha256_of(SHIPPED)
    assert done.stderr == ""


def test_a_converted_detector_is_worth_what_the_original_is() -> None:
    assert run(SHIPPED, "c.safetensors", "--arch", "vitdet-ti").exit_code == 0
    swept: list[tuple[float, object]] = []
    for weights in (SHIPPED, Path("c.safetensors").absolute()):
        results = Path("results", weights.stem)
        Path("r.yaml").write_text(
            "schema: 1\nname: swept\ndataset: {name: synthetic, split: val}\n"
            f"model: {{name: vitdet-ti, input: 192x640, frame: 192x640, weights: {weights}}}\n"
            "methods: [{name: dense}]\nmetrics: [accuracy]\nlimit: {clips: 2, frames: 3}\n"
        )
        done = CliRunner().invoke(maskvd.app, ["sweep", "r.yaml", "--results", str(results)])
        assert done.exit_code == 0, done.output
        assert "anchors" not in done.output
        (found,) = runs_below(results / "swept")
        (point,) = found.plan().points
        measured = found.measured("accuracy", point.key)
        assert measured is not None and measured.value("map50") is not None
        assert found.parts(point.key) == {0, 1}
        outputs = [found.piece(point.key, number).outputs for number in (0, 1)]
        boxes = [{name: array.tolist() for name, array in clip.items()} for clip in outputs]
        assert all(len(clip["box"]) for clip in boxes)
        swept.append((measured.values["map50"].value, boxes))
    assert swept[0] == swept[1]
    assert swept[0][0] > 20


def test_a_file_that_is_converted_again_keeps_where_it_came_from(source: Path) -> None:
    names = [source, *(Path(f"{word}.safetensors") for word in ("one", "two", "three"))]
    for before, after in itertools.pairwise(names):
        assert run(before, after).exit_code == 0
    metadata = read_metadata(names[3])
    assert (metadata["source_naming"], metadata["dropped"]) == ("own", "{}")
    assert metadata["source_sha256"] == sha256_of(names[2])
    first, second = json.loads(metadata["earlier_sources"])
    assert (first["naming"], first["sha256"]) == ("timm", sha256_of(source))
    assert set(first["dropped"]) == {"head.weight", "head.bias"}
    assert second == {"naming": "own", "sha256": sha256_of(names[1]), "dropped": {}}
    assert "earlier_sources" not in read_metadata(names[1])
    done = run(names[2], "again.safetensors")
    assert Path("again.safetensors").read_bytes() == names[3].read_bytes()
    assert done.stdout.index(sha256_of(names[1])) < done.stdout.index(sha256_of(source))
    told = json.loads(run(names[2], "json.safetensors", "--json").stdout)
    assert told["earlier_sources"] == [first, second]


@pytest.mark.parametrize(
    "chain",
    [
        "{}", "[", "5", "[1]", "[[]]", '[{"naming": "timm"}]', json.dumps([{}] * 101),
        '[{"naming": 1, "sha256": "", "dropped": {}}]',
        '[{"naming": "", "sha256": "", "dropped": {"a": 1}}]',
        '[{"naming": "", "sha256": "", "dropped": {}, "more": 1}]',
    ],
)  # fmt: skip
def test_a_chain_of_sources_that_cannot_be_is_refused(chain: str) -> None:
    metadata = read_metadata(SHIPPED) | {"earlier_sources": chain}
    save(Path("odd.safetensors"), read_tensors(SHIPPED), metadata)
    done = run("odd.safetensors", "c.safetensors")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: odd.safetensors: metadata earlier_sources ")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("c.safetensors").exists()


def test_a_detector_that_does_not_say_its_anchors_is_told() -> None:
    save(Path("bare.safetensors"), read_tensors(SHIPPED), {})
    done = run("bare.safetensors", "c.safetensors")
    assert (done.exit_code, "SRC does not say its anchors" in done.stderr) == (0, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": "[1]"}, "metadata heads is [1], expected an object"),
        ({"heads": "{"}, "metadata heads is no JSON"),
        ({"heads": '{"channels": 7}'}, "metadata heads.channels is 7, its tensors need 48"),
        ({"classes": '["car"]'}, "metadata classes names 1, the tensors have 3"),
        ({"arch": "vitdet-b"}, "says that it is of vitdet-b, not vitdet-ti; give --arch vitdet-b"),
    ],
    ids=str,
)
def test_metadata_that_contradict_the_tensors_are_refused(
    changes: dict[str, str], said: str
) -> None:
    save(Path("odd.safetensors"), read_tensors(SHIPPED), read_metadata(SHIPPED) | changes)
    done = run("odd.safetensors", "c.safetensors", "--arch", "vitdet-ti")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: odd.safetensors: {said}")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("c.safetensors").exists()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch marker",)


@pytest.mark.parametrize("name", ["evil.pth", "evil.pkl"])
def test_files_that_run_code_are_refused(name: str) -> None:
    content = {"model": Evil()}
    if name.endswith(".pth"):
        torch.save(content, name)
    else:
        Path(name).write_bytes(pickle.dumps(content))
    done = run(name, "out.safetensors")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "code from the file" in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == [name]


def test_help_names_every_option_and_naming() -> None:
    text = run("--help").stdout
    for word in ("SRC", "DST", "--naming", "--arch", "--force", "Example"):
        assert word in text
    from maskvd_cli.families.vitdet.namings import NAMINGS

    assert all(naming in text for naming in NAMINGS)


def test_the_command_is_imported_without_torch() -> None:
    code = "import sys, maskvd_cli.commands.convert; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_sweeps_read_as_it_is_is_not_converted() -> None:
    name = "backbone.0.encoder.encoder.embeddings.cls_token"
    content = {"model": {name: torch.zeros(1, 1, 4)}, "args": argparse.Namespace(resolution=384)}
    torch.save(content, "rf.pth")
    done = run("rf.pth", "out.safetensors")
    assert done.exit_code == 2
    assert "rf.pth needs no converting: RF-DETR reads published files as they are; give" in (
        done.stderr
    )
    torch.save(timm_backbone(dim=8), "b.pth")
    done = run("b.pth", "out.safetensors", "--arch", "yolos-tiny")
    assert done.exit_code == 2
    assert "b.pth needs no converting: yolos-tiny reads published files" in done.stderr
    assert not Path("out.safetensors").exists()
