"""EPIC-Kitchens-100's layout: tables, three protocols, actions cut from long videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.data.epic_kitchens import EpicKitchens100

from .drawn_videos import number_of, write_video

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
ROW = (
    "{id},P01,P01_11,00:00:00.5,{start},{stop},1,2,x,x,{verb},x,{noun},\"['a', 'b']\",\"[1, 2]\"\n"
)


def row(number: int = 0, start: str = "00:00:00.50", stop: str = "00:00:01.00",
        verb: object = 3, noun: object = 5) -> str:  # fmt: skip
    return ROW.format(id=f"P01_11_{number}", start=start, stop=stop, verb=verb, noun=noun)


def write_tables(root: Path, *rows: str, train: tuple[str, ...] = ()) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "EPIC_100_validation.csv").write_text(HEADER + "".join(rows), "utf-8")
    if train:
        (root / "EPIC_100_train.csv").write_text(HEADER + "".join(train), "utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("epic")
    write_tables(
        made / "annotations",
        row(0), row(1, "00:00:00.00", "00:00:00.40", 1, 5),
        train=(row(9, verb=3, noun=2),),
    )  # fmt: skip
    (made / "annotations" / "EPIC_100_verb_classes.csv").write_text(
        "id,key,instances,category\n0,take,\"['take', 'grab']\",x\n3,open,x,x\n"
    )
    write_video(made / "P01" / "videos" / "P01_11.MP4", 60, rate=60)
    return made


def test_actions_are_cut_from_their_video_at_30_per_second(root: Path) -> None:
    dataset = EpicKitchens100(root)
    first, second = dataset.clips()
    assert (first.name, first.video, first.label, len(first)) == ("P01_11_0", "P01_11", 3, 15)
    assert (second.name, second.video, second.label, len(second)) == ("P01_11_1", "P01_11", 1, 12)
    found = [number_of(dataset.image(frame)) for frame in first.frames]
    assert found == list(range(30, 60, 2))
    assert [number_of(dataset.image(frame)) for frame in second.frames] == list(range(0, 24, 2))


def test_protocols_give_verbs_nouns_and_pairs(root: Path) -> None:
    def of(protocol: str) -> tuple[EpicKitchens100, list[object]]:
        dataset = EpicKitchens100(root, protocol=protocol)
        return dataset, [clip.label for clip in dataset.clips()]

    verbs, labels = of("verbs")
    assert (len(verbs.classes), labels) == (97, [3, 1])
    assert (verbs.classes[0], verbs.classes[1], verbs.classes[3]) == ("take", "verb 1", "open")
    nouns, labels = of("nouns")
    assert (len(nouns.classes), labels) == (300, [5, 5])
    actions, labels = of("actions")
    # Pairs of both tables, by verb, then noun.
    assert actions.classes == ("verb 1 noun 5", "open noun 2", "open noun 5")
    assert labels == [2, 0]
    assert of("raw")[1] == [2, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row(verb=97), "line 2: verb_class is '97'"),
        (row(noun=-1), "line 2: noun_class is '-1'"),
        (row(start="1:2"), "line 2: start_timestamp is '1:2'"),
        (row(stop="00:00:00.10"), "line 2: ends at 00:00:00.10, before it starts"),
        (row().replace("P01_11,", "/etc/x,"), "line 2: video_id '/etc/x' is no name"),
    ],
)
def test_rows_that_cannot_be_used_are_told(text: str, message: str, tmp_path: Path) -> None:
    write_tables(tmp_path, text)
    with pytest.raises(DatasetError, match=message):
        list(EpicKitchens100(tmp_path).clips())


def test_a_table_or_videos_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such table"):
        list(EpicKitchens100(tmp_path).clips())
    write_tables(tmp_path, row())
    with pytest.raises(DatasetError, match="none of 1 video of split val is here") as caught:
        list(EpicKitchens100(tmp_path).clips())
    assert "P01/videos/P01_11.MP4" in str(caught.value)


def test_videos_may_lie_in_one_folder(tmp_path: Path) -> None:
    write_tables(tmp_path, row())
    write_video(tmp_path / "videos" / "P01_11.mp4", 60, rate=60)
    assert [len(clip) for clip in EpicKitchens100(tmp_path).clips()] == [15]
