"""Every trial as a list in the terminal: as many columns as fit, or for other programs all of them."""

from typing import TYPE_CHECKING, Any

from rich.text import Text

from dlkit.bench.analysis import numbers
from dlkit.bench.escapes import visible
from dlkit.bench.report.tables import Table
from dlkit.bench.report.terminal import print_lines, terminal
from dlkit.bench.report.text_tables import natural_width, paragraph, table_lines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["print_trials", "trial_lines"]

# the most wanted first: those at the end leave where there is no room
COLUMNS = (
    "trial",
    "stage",
    "study",
    "seed",
    "status",
    "value",
    "outcome",
    "seconds",
    "setting",
    "outcome_step",
    "reason",
)
BEFORE_SETTINGS = "reason"  # the columns that follow are hyperparameters
WORDS = {"trial", "stage", "status", "outcome", "setting", "reason"}


def print_trials(trials: "pd.DataFrame", elsewhere: str) -> None:
    """Prints trials: to a terminal as many columns as it has room for, else all of them, a line a trial.

    Args:
        trials: as of `frames.trials`.
        elsewhere: what shows all columns.
    """
    console = terminal()
    if console.is_terminal and not trials.empty:
        print_lines(console, trial_lines(trials, console.width, elsewhere))
    else:
        texts = trials.select_dtypes(["object", "str"]).columns
        shown = trials.assign(**{name: trials[name].map(_shown) for name in texts}).rename(columns=visible)
        print(shown.to_string(index=False, na_rep=""))  # noqa: T201


def trial_lines(trials: "pd.DataFrame", width: int, elsewhere: str) -> list[Text]:
    """Returns trials as lines, contender by contender; the last says which columns found no room, and what shows them.

    Args:
        trials: as of `frames.trials`.
        width: of the lines, in columns.
        elsewhere: what shows all columns.
    """
    rows = trials.to_dict("records")
    names = list(trials.columns)
    settings = names[names.index(BEFORE_SETTINGS) + 1 :]
    groups: dict[str, list[list[str]]] = {}
    for row in rows:
        row["setting"] = numbers.point({name: row[name] for name in settings if not _is_missing(row[name])})
        groups.setdefault(f"{row['problem']} / {row['optimizer']}", []).append([_text(row[name]) for name in COLUMNS])
    filled = [place for place in range(len(COLUMNS)) if any(row[place] for group in groups.values() for row in group)]
    count = len(filled)
    while (
        count > 1 and natural_width(_part(filled[:count], [row for group in groups.values() for row in group])) > width
    ):
        count -= 1
    lines: list[Text] = []
    for name, group in groups.items():
        lines += [Text(line, style="bold") for line in paragraph(name, width=width)]
        lines += [*table_lines(_part(filled[:count], group), width=width, words=WORDS), Text()]
    left = [*(COLUMNS[place].replace("_", " ") for place in filled[count:]), "counts of evaluations"]
    about = f"Not shown here: {', '.join(left)}. All columns: {elsewhere}"
    return [*lines, *(Text(line, style="dim") for line in paragraph(about, width=width))]


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value


def _part(places: list[int], rows: list[list[str]]) -> Table:
    return Table([COLUMNS[place] for place in places], [[row[place] for place in places] for row in rows])


def _is_missing(value: Any) -> bool:
    return value is None or value != value


def _text(value: Any) -> str:
    if _is_missing(value):
        return ""
    return numbers.number(value) if isinstance(value, float) else str(value)
