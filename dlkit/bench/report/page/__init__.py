"""The report: one HTML file that opens without a network.

- `writing`: renders and writes it; `contents`: what its templates get.
- `answer_picture`: the picture of the first screen; `answer_table`: its table; `looks`: colours and shapes.
- `problem_cards`: a card a problem, with its tables and figures; `across`: what holds over all problems.
- `sentences`: what was compared, and what is said of several problems at once.
- `markup`: tables and figures as templates take them; `terms`: which words of a table's heading are explained where.
- `curve_axes`: what curves can be drawn against; `embedding`: compressed data; `downloads`: numbers for the reader.
- `provenance`: what the numbers rest on.

The templates, with the page's style and script, are in `templates/`.
"""

from dlkit.bench.report.page.writing import write_report, write_text

__all__ = ["write_report", "write_text"]
