"""How results are shown: tables, figures, the HTML page, the terminal. Never imports JAX.

- `tables`, `tables_across`: what tables say, of a problem and of all;
  `markdown`, `latex`, `terminal`: how they are written; `text_tables`: as lines that fit a width.
- `answer_table`: the answer as a table; `notebook`: as a card below a cell; `shown`: what a result shows of it;
  `trial_list`: every trial in the terminal; `plain_letters`: where a terminal has few.
- `paper_table`: the one table of a paper, with the protocol of `paper_notes`; `paper_latex`: in LaTeX;
  `latex_text`: any text as LaTeX.
- `figure_data`, `grid_scale`, `surface_data`: what figures draw.
- `plotly_figures`, `plotly_factors`, `plotly_pareto`, `plotly_surfaces`, `plotly_across`: drawn for the page, as
  `plotly_drawing` has them; `figure_list`: those of the page; `plotly_bundle`: what of plotly.js they need.
- `matplotlib_figures`, `matplotlib_factors`, `matplotlib_pareto`, `matplotlib_surfaces`, `matplotlib_across`,
  `matplotlib_ranks`: drawn for papers, at widths and with letters of `matplotlib_paper`.
- `looks`: colours, dashes and marks of contenders, on light and on dark ground.
- `parameter_groups`: which rule trains which parameters.
- `data_cards`: what was done to a user's data.
- `samples`: what generative models make, drawn.
- `page`: the HTML report.
"""

__all__ = [
    "answer_table",
    "data_cards",
    "figure_data",
    "figure_list",
    "grid_scale",
    "latex",
    "latex_text",
    "looks",
    "markdown",
    "matplotlib_across",
    "matplotlib_factors",
    "matplotlib_figures",
    "matplotlib_paper",
    "matplotlib_pareto",
    "matplotlib_ranks",
    "matplotlib_surfaces",
    "notebook",
    "page",
    "paper_latex",
    "paper_notes",
    "paper_table",
    "parameter_groups",
    "plain_letters",
    "plotly_across",
    "plotly_bundle",
    "plotly_drawing",
    "plotly_factors",
    "plotly_figures",
    "plotly_pareto",
    "plotly_surfaces",
    "samples",
    "shown",
    "surface_data",
    "tables",
    "tables_across",
    "terminal",
    "text_tables",
    "trial_list",
]
