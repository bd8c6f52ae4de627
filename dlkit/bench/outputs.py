"""What a result is written as: the report, figures, the table of a paper, files of other tools; methods of `Result`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dlkit.bench.analysis.summary import Summary
    from dlkit.bench.export.write import Kind
    from dlkit.bench.report.paper_table import PaperTable

__all__ = ["Outputs"]


class Outputs:
    """The methods of a result that write it in other forms.

    Attributes:
        summary: the tables and verdicts as data.
    """

    summary: "Summary"

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML file that needs no network.

        Args:
            path: where; an existing file is replaced.

        Returns:
            The path.

        Raises:
            UserError: if it cannot be written there.
        """
        from dlkit.bench.report.page import write_report

        return write_report(self.summary, Path(path))

    def figures(self, folder: str | Path, *, extension: str = "pdf", width: str = "text") -> list[Path]:
        """Draws figures for papers: curves and final values of each problem, and what else the run has to show.

        Args:
            folder: where; made if missing.
            extension: a file ending that matplotlib knows, such as ``"pdf"``, ``"svg"``, ``"png"``.
            width: ``"text"``, 6.75 inches, or ``"column"``, 3.25 inches, for one of two columns.

        Returns:
            The files.

        Raises:
            UserError: for an unknown format or width, or if they cannot be written there.
        """
        from dlkit.bench.report.matplotlib_figures import save_figures

        return save_figures(self.summary, Path(folder), extension=extension, width=width)

    def paper_table(
        self,
        *,
        rows: Literal["problems", "contenders"] | None = None,
        caption: str | None = None,
        label: str | None = None,
    ) -> "PaperTable":
        """Returns the one table of a paper as data: contenders and problems, intervals, who leads, the protocol.

        Args:
            rows: what stands in rows; None for the narrower table.
            caption: in place of the one that is made: text, shown as it is.
            label: in place of ``"tab:NAME"``.

        Returns:
            The table; see `latex` and `markdown`.

        Raises:
            UserError: for other rows, or a label with signs that cannot stand in one.
        """
        from dlkit.bench.report.paper_table import paper_table

        return paper_table(self.summary, rows=rows, caption=caption, label=label)

    def latex(
        self,
        *,
        rows: Literal["problems", "contenders"] | None = None,
        caption: str | None = None,
        label: str | None = None,
        width: float = 4.75,
        height: float = 7.5,
        siunitx: bool = False,
    ) -> str:
        r"""Returns the table of a paper in LaTeX, a float for the packages booktabs and adjustbox.

        The leader is bold, who is not told apart from it underlined; the protocol stands below. A table that is too
        wide for the text stands sideways (package rotating); one that is too long goes on in a second one.

        Args:
            rows: what stands in rows; None for the narrower table.
            caption: in place of the one that is made: text, shown as it is.
            label: in place of ``"tab:NAME"``.
            width: of the text, in inches.
            height: of the text on a page, in inches.
            siunitx: whether numbers are written for the package siunitx, as `\num{1.2e-3}`.

        Raises:
            UserError: for other rows, a label that cannot be one, or a page without width or height.
        """
        from dlkit.bench.report.paper_latex import paper_latex

        table = self.paper_table(rows=rows, caption=caption, label=label)
        return paper_latex(table, width=width, height=height, siunitx=siunitx)

    def markdown(
        self, *, rows: Literal["problems", "contenders"] | None = "contenders", caption: str | None = None
    ) -> str:
        """Returns the same table in Markdown, as GitHub shows it; who is not told apart from the leader is in italics.

        Args:
            rows: what stands in rows.
            caption: in place of the one that is made: text, shown as it is.

        Raises:
            UserError: for other rows.
        """
        from dlkit.bench.report.markdown import paper_markdown

        return paper_markdown(self.paper_table(rows=rows, caption=caption))

    def export(self, path: str | Path, *, kind: "Kind" = "csv") -> Path:
        """Writes everything in a form that other tools read: trials, curves, tables, sentences, evidence, costs.

        It is written as a whole or not at all. An earlier export there is replaced; anything else is refused.

        Args:
            path: a file for JSON, a folder for the others.
            kind: ``"csv"``, ``"parquet"`` or ``"json"``: tables, with each column's kind, unit and meaning;
                ``"tensorboard"``, ``"mlflow"`` or ``"wandb"`` (offline): the final trials' curves.

        Returns:
            The path.

        Raises:
            UserError: for another kind, a package that is missing (with the command that installs it), a place where
                something else is, or that cannot be written.
        """
        from dlkit.bench.export.write import write

        return write(self.summary, Path(path), kind).path
