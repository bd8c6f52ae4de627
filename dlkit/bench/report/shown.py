"""What has a run's summary, shown: printed, in a notebook, in one line."""

from pathlib import Path

from dlkit.bench.analysis.summary import Summary

__all__ = ["Shown"]


class Shown:
    """Shows the answer of a run: printed, below the cell of a notebook, and in short.

    Attributes:
        summary: of the run.
        folder: its folder; None if it was kept in memory.
    """

    summary: Summary
    folder: Path | None

    def __str__(self) -> str:
        from dlkit.bench.report.terminal import More, text_of

        return text_of(self.summary, More.in_python(self.folder))

    def __repr__(self) -> str:
        from dlkit.bench.report.notebook import short_text

        return short_text(self.summary, self.folder)

    def _repr_html_(self) -> str:
        from dlkit.bench.report.notebook import card
        from dlkit.bench.report.terminal import More

        return card(self.summary, More.in_python(self.folder))

    def show(self, *, tables: bool = False) -> None:
        """Prints the answer, in colour where the terminal has it.

        Args:
            tables: whether the ranked tables and the verdicts with their numbers follow.
        """
        from dlkit.bench.report.terminal import More, print_summary

        print_summary(self.summary, More.in_python(self.folder), tables=tables)
