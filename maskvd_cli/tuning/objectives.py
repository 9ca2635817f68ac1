"""What a search can make small: counted and measured quantities, by the words of `--objective`."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.counts import COUNTS
from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.methods.registry import baseline
from maskvd_cli.store.schema import StoredQuantity
from maskvd_cli.tasks.base import Task
from maskvd_cli.work.legend import quantities_of

# Short words for two quantities; every other word is the name of its quantity.
_SHORT = {"latency": "speedup", "peak": "peak_mib"}


@dataclass(frozen=True)
class Objective:
    """A quantity of a point that a search makes small.

    `word` on the command line and in files; `quantity`: the name in result files; `of`: the metric
    that measures it, None: counted of every point. `shown`: how the cost is called and written.
    `is_share`: the quantity is a ratio of the baseline to the point, and the cost is 1 / it.
    """

    word: str
    quantity: str
    of: str | None
    shown: Quantity
    is_share: bool = False

    @property
    def is_noisy(self) -> bool:
        """Whether two measurements of one point differ, so that the best of many is partly luck."""
        return self.shown.comparison != "exact"


def objectives(task: type[Task]) -> dict[str, Objective]:
    """Return what can be made small where a model is asked for `task`, by word.

    That is everything that has no noise and is better when lower, what the task scores aside, and
    the time of a frame as a share of the baseline's: milliseconds drift between sessions, the
    share does much less, and has the interval of the speed-up.
    """
    word_of, scores = {name: word for word, name in _SHORT.items()}, scores_of(task)
    found: dict[str, Objective] = {}
    for quantity in quantities_of(task):
        name, word = quantity.name, word_of.get(quantity.name, quantity.name)
        if quantity.of == scores:
            continue
        if quantity.comparison == "exact" and quantity.more_is_better is False:
            of = None if quantity.of == COUNTS else quantity.of
            found[word] = Objective(word, name, of, _plain(quantity))
        elif word in _SHORT:
            found[word] = Objective(word, name, quantity.of, _time_share(), is_share=True)
    return found


def scores_of(task: type[Task]) -> str:
    """Return the metric that measures the headline of a task."""
    name = task.headline().name
    return next(quantity.of for quantity in quantities_of(task) if quantity.name == name)


def objective_of(task: type[Task], word: str) -> Objective:
    """Return the objective called `word`. Raises UsageError for an unknown one."""
    known = objectives(task)
    if word not in known:
        raise UsageError(unknown("objective", word, known))
    return known[word]


def _plain(quantity: StoredQuantity) -> Quantity:
    return Quantity(**quantity.model_dump(exclude={"of"}))


def _time_share() -> Quantity:
    header = f"time / {baseline().name}"
    meaning = "time of a frame as a share of the baseline's in the same session"
    return Quantity("time_share", header, "", 3, False, meaning, comparison="ratio")
