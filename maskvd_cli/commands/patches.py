"""The option that says how large a token is."""

from __future__ import annotations

from typing import Annotated

import typer

Patch = Annotated[
    int, typer.Option(min=1, max=512, help="Side of a token in pixels, as the model has it.")
]
