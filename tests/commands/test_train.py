"""`maskvd train` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from maskvd_cli import app as maskvd
from maskvd_cli.commands.train import train

app = typer.Typer(cls=maskvd.app.info.cls, rich_markup_mode=None)
app.callback()(lambda: None)
app.command()(train)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MASKVD_KITTI", "MASKVD_VID"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def small(*more: str) -> list[str]:
    """The shortest training of the smallest architecture that comes with maskvd."""
    changes = [
        "init=null", "allow_missing=[]", "model.name=vitdet-ti", "model.input=64x96",
        "model.frame=64x96", "model.channels=16", "model.hidden=16", "model.proposals=20",
        "schedule.unit=steps", "schedule.length=2", "schedule.warmup=0", "accumulate=1",
        "dataset.root=kitti", "workers=0", "evaluation.limit=2", *more,
    ]  # fmt: skip
    return [word for change in changes for word in ("--set", change)]


def write_kitti(folder: Path) -> None:
    from PIL import Image

    images, labels = folder / "training" / "image_02" / "0000", folder / "training" / "label_02"
    images.mkdir(parents=True)
    labels.mkdir()
    for frame in range(4):
        Image.new("RGB", (96, 64), (90, 20 * frame, 30)).save(images / f"{frame:06d}.png")
    rest = "-1 -1 -1 -1 -1 -1 -1"
    rows = [f"{frame} 0 Car 0 0 0 10 10 40 40 {rest}\n" for frame in range(4)]
    (labels / "0000.txt").write_text("".join(rows))


def test_train_and_train_again() -> None:
    write_kitti(Path("kitti"))
    done = run("train-kitti", "-o", "out", "--device", "cpu", *small())
    assert done.exit_code == 0, done.output
    assert "begins at step 0 of 2 on cpu: 2 frames to learn, 2 to evaluate" in done.stderr
    assert "loss" in done.stderr and "left" in done.stderr
    assert "(rpn objectness " in done.stderr and " frames/s, " in done.stderr
    assert "mAP50" in done.stdout
    weights = Path("out/vitdet-b-kitti.safetensors")
    before = weights.read_bytes()
    assert "sha256" in weights.with_suffix(".md").read_text()
    again = run("train-kitti", "-o", "out", "--device", "cpu", *small())
    assert again.exit_code == 0
    assert "this training is finished after 2 steps" in again.stderr
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-kity", "-o", "out"], "did you mean 'train-kitti'"),
        (["train-kitti", "-o", "out"], "environment variable MASKVD_KITTI"),
        (["train-kitti", "-o", "out", "--device", "cuda:99"], "no device 'cuda:99' here"),
        (["train-kitti", "-o", "out", "--set", "batch=x"], "--set batch=x batch: "),
        (["train-kitti", "-o", "kitti/out", *small()], "which maskvd never writes to"),
        (["train-kitti", "-o", "out", "--resume", *small()], "no checkpoint to go on with"),
        (["train-kitti", "-o", "out", *small("init=w.pth")], "no such checkpoint"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    write_kitti(Path("kitti"))
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not Path("kitti/out").exists()
