"""What tests of detectors with queries share: images, and sections of a count."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.counting import MacCounter


def images(count: int, size: Size) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))


class Sections:
    """Counts what modules compute under names, while entered."""

    def __init__(self, counter: MacCounter, names: dict[nn.Module, str]) -> None:
        self.counter, self.names, self.hooks = counter, names, list[Any]()

    def __enter__(self) -> None:
        for module, name in self.names.items():
            open_ = list[Any]()

            def before(*_: Any, name: str = name, open_: list[Any] = open_) -> None:
                open_.append(self.counter.section(name))
                open_[-1].__enter__()

            def after(*_: Any, open_: list[Any] = open_) -> None:
                open_.pop().__exit__(None, None, None)

            self.hooks += [
                module.register_forward_pre_hook(before), module.register_forward_hook(after)
            ]  # fmt: skip

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
