"""A console for text of files: nothing in it steers the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from maskvd_cli.core.shown import shown

_KEPT = "\n\t"


def literal(text: str) -> str:
    """Return text of files for a console: nothing in it is markup or steers, all on one line."""
    return escape(shown(text))


class SafeConsole(Console):
    """Shows control characters of labels, classes and paths as escapes like `\\x1b`.

    Text is escaped before it is laid out, and whatever came another way as it is drawn. Where a
    reader closes the pipe, rich ends the program with code 1; that is no failure here.
    """

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Lay out text without what steers a terminal."""
        return super().render_str(shown(text, _KEPT), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Draw, and escape what is left in text; rich's own controls pass."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(shown(segment.text, _KEPT), segment.style)
