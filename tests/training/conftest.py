"""The tiny architectures, known by name in this folder's tests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maskvd_cli.families.vitdet.archs import ARCHS

from .trainings import TINY, TINY_GLOBAL


@pytest.fixture(autouse=True, scope="module")
def _tiny_architectures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for arch in (TINY, TINY_GLOBAL):
            patch.setitem(ARCHS, arch.name, arch)
        yield
