"""Read a split's clips from the cache where they are kept, else keep them while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import Dataset, Fingerprint
from maskvd_cli.data.stored_clips import Recorder, Shelf


def shelf_of(dataset: Dataset, kind: str = "clips", *more: object) -> Shelf | None:
    """Return where a dataset's clips are kept, or what `kind` names and `more` decides.

    None where nothing is kept.
    """
    stamp = dataset.stamp()
    if stamp is None:
        return None
    return Shelf.of(dataset.root, "\0".join([kind, stamp, *map(str, more)]))


def kept_clips(
    dataset: Dataset,
    read: Iterator[Clip],
    remarks: Callable[[], tuple[str, ...]] = tuple,
) -> Iterator[Clip]:
    """Yield the clips that are kept, else those that `read` yields, and keep them at its end.

    `remarks` are those of the dataset's reader besides its tally.
    """
    shelf = shelf_of(dataset)
    if shelf is None:
        yield from read
        return
    stored = shelf.load()
    if stored is not None:
        yield from stored.clips(dataset.tally)
        dataset.whole_fingerprint = stored.fingerprint
        return
    recorder, content = Recorder(), Fingerprint(dataset.classes)
    for clip in read:
        recorder.add(clip, dataset.tally)
        content.add(clip)
        yield clip
    dataset.whole_fingerprint = content.hexdigest()
    recorder.save(shelf, dataset.whole_fingerprint, dataset.classes, remarks())
