"""Write what the documentation takes from the code: `python docs/generate.py [--check]`.

Fills the generated regions of all pages and draws the methods' figures. With --check nothing is
written, and the exit code is 1 where something on disk is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from generation.command_line import commands  # noqa: E402
from generation.details import details  # noqa: E402
from generation.families import families_of  # noqa: E402
from generation.fields import fields_of, parameters_of  # noqa: E402
from generation.figures import figures  # noqa: E402
from generation.quantities import quantities  # noqa: E402
from generation.regions import filled  # noqa: E402

WRITERS = {
    "commands": commands,
    "details": details,
    "families": families_of,
    "fields": fields_of,
    "parameters": parameters_of,
    "quantities": quantities,
}


def generated() -> dict[Path, str]:
    """Return the whole content of every file that is generated, or has generated regions."""
    made = {DOCS / "images" / "methods" / name: text for name, text in figures().items()}
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        if "<!-- begin generated" in text:
            made[page] = filled(text, WRITERS)
    return made


def stale(made: dict[Path, str]) -> list[Path]:
    """Return the files that differ from what the code says now."""
    return [
        path for path, text in made.items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Write, or check; return the exit code. `words`: of the command line; None: those given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(words).check
    made = generated()
    changed = stale(made)
    for path in changed:
        print(f"{'stale' if check else 'written'}: {path.relative_to(DOCS.parent)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], "utf-8")
    if check and changed:
        print("mend it with: .venv/bin/python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
