"""One door for data: a file, a folder, a table or arrays, and what is to be predicted, as a dataset."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset, require_digest
from dlkit.bench.data.opened import Read, opened
from dlkit.bench.data.prepared import prepared
from dlkit.bench.data.roles import Asked
from dlkit.bench.data.sources import Source, joined, of_memory
from dlkit.bench.data.splits import transformed
from dlkit.bench.errors import UserError, says_what_it_takes
from dlkit.bench.plan.card import ColumnCard, DataCard

__all__ = ["dataset"]

TEST = 0.2  # the share of a test that nobody asked for
# What is asked of sources that have columns, and that a reader which splits its examples itself has no use for.
FOR_EXAMPLES = (
    *("target", "inputs", "drop", "groups", "time", "stratify", "task", "validation"),
    *("missing", "missing_words", "scale_target"),
)


@says_what_it_takes(
    "bench.dataset", {"*": "write bench.dataset((X, y))", "data": "write bench.dataset(data, target=...)"}
)
def dataset(
    source: Any,
    *,
    target: Any = None,
    inputs: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    test: Any = None,
    validation: float = 0.2,
    groups: Any = None,
    time: Any = None,
    stratify: Any = None,
    task: Literal["classification", "regression"] | None = None,
    missing: Literal["refuse", "impute", "drop"] = "refuse",
    missing_words: Sequence[str] = (),
    scale: bool = True,
    scale_target: bool = False,
    header: bool | None = None,
    size: tuple[int, int] | None = None,
    length: int = 48,
    examples: int | None = None,
    name: str = "",
    digest: str = "",
) -> Dataset:
    """Makes a dataset of what a user has. What was done stands in its `card`.

    Args:
        source: a file or folder; a data frame; a dictionary of columns or arrays; a pair of inputs and targets, each an
            array, a list, a data frame or a sparse matrix.
        target: the column to predict, by name or place; several for a regression of several numbers; or the targets
            themselves, an array or a column beside a source in memory. None: what the source itself says; a table that
            says nothing is refused, with its columns.
        inputs: the columns to predict from; None for all that have no other role.
        drop: columns to leave out.
        test: what judges: another source with the same columns, or a share of the examples. None: the source's own,
            or a fifth.
        validation: what selects: a share of the examples that are not the test's own.
        groups: a column, or an array with an entry for each example: examples of one group stay in one split.
        time: a column, or an array: training examples are earlier than validation's, these earlier than the test's.
        stratify: a column, or an array, whose values every split has in the same shares. None: the classes; False:
            nothing.
        task: whether targets are classes or quantities. None: texts and truth values are classes, and so are whole
            numbers without gaps, such as 1 to 7, of at most 20 kinds.
        missing: what is done with missing values: ``"refuse"``; ``"impute"``: the median or most frequent level of the
            training split, with a further column that says where; ``"drop"``: rows with one are left out. Rows without
            a target are left out unless they are refused.
        missing_words: texts that stand for a missing value, such as ``"?"``, beside empty ones and ``NA``.
        scale: whether numbers are standardized by the training split, per column; of series, per channel.
        scale_target: whether the targets of a regression are; else they keep their units.
        header: whether the first line of a text table has names; None to judge by its look.
        size: (height, width) that images of a folder are resized to; None where all have the same.
        length: of a sequence of a text's characters.
        examples: how many at most are used, drawn at random; None for all.
        name: the dataset's; empty for the file's.
        digest: what `Dataset.digest` has to be, or the first digits of it; empty to accept any.

    Returns:
        Splits with ``"inputs"`` and ``"targets"``. Of a table, ``"inputs"`` [examples, columns] float32: numbers and
        dates (as days) standardized, truth values as 0 and 1, categories one-hot; ``"targets"`` [examples] int32 class
        indices, or [examples] float32. Whatever is fitted is fitted to the training split, in every study anew.

    Raises:
        UserError: for a source that cannot be read or understood, naming the file, column and row, and what to do.

    Example:
        >>> table = {"size": [float(row) for row in range(20)], "kind": ["a", "b"] * 10}
        >>> made = dataset(table, target="kind")
        >>> made.train["inputs"].shape, made.card.classes
        ((12, 1), ('a', 'b'))
    """
    if _is_beside(source, target):
        source, target = (source, target), None
    asked = Asked(
        target=target,
        inputs=inputs,
        drop=drop,
        validation=validation,
        test=test if isinstance(test, int | float) else TEST,
        groups=groups,
        time=time,
        stratify=stratify,
        task=task,
        missing=missing,
        missing_words=missing_words,
        scale=scale,
        scale_target=scale_target,
        header=header,
        size=size,
        length=length,
        examples=examples,
        name=name,
    )
    is_share = test is None or isinstance(test, int | float)
    found = _entered(source, asked, "bench.dataset")
    if isinstance(found, Source):
        if not is_share:
            judging = _entered(test, asked, "bench.dataset, test")
            if isinstance(judging, Read):
                raise UserError(f"test: {judging.dataset.source} has splits of its own; give examples alone")
            found = joined(found, judging)
        elif test is not None and found.test:
            raise UserError(f"{found.where}: has test examples of its own; leave out test={test!r}")
        return require_digest(prepared(found, asked), digest)
    given = [each for each in FOR_EXAMPLES if getattr(asked, each) != getattr(Asked(), each)]
    if given := given + ["test"] * (test is not None):
        where = found.dataset.source
        raise UserError(f"{where}: its reader knows inputs, targets and splits; leave out {', '.join(given)}")
    return require_digest(_carded(found, asked), digest)


def _is_beside(source: Any, target: Any) -> bool:
    """Whether a target is the targets themselves, beside their inputs."""
    if isinstance(source, str | Path) or not hasattr(source, "shape"):
        return False
    return hasattr(target, "shape") or (isinstance(target, list) and len(target) == source.shape[0])


def _entered(value: Any, asked: Asked, where: str) -> Source | Read:
    if isinstance(value, Dataset):
        raise UserError(f"{where}: is a Dataset already; use it as it is")
    return opened(value, asked) if isinstance(value, str | Path) else of_memory(value, where, asked.target)


def _carded(found: Read, asked: Asked) -> Dataset:
    """A dataset that its reader split, under the name that was asked for, with what can be told of it."""
    made = found.dataset
    if asked.name:
        made = transformed(made, partial(replace, name=asked.name))
    inputs, targets = made.train["inputs"], {part: getattr(made, part)["targets"] for part in SPLITS}
    is_classes = targets["train"].ndim == 1 and targets["train"].dtype.kind in "iu"
    count = max(len(found.classes), 1 + max(int(each.max()) for each in targets.values())) if is_classes else 0
    shape = "x".join(map(str, inputs.shape[1:]))
    card = DataCard(
        form=found.form,
        files=found.files,
        rows=sum(made.sizes),
        used=sum(made.sizes),
        split=found.split + (", anew in each study" if made.redraw else ""),
        columns=(ColumnCard("inputs", "input", f"{inputs.dtype} {shape}", found.became, 0, int(inputs[0].size)),),
        classes=found.classes or tuple(map(str, range(count))),
        class_counts={part: tuple(np.bincount(each, minlength=count).tolist()) for part, each in targets.items()}
        if is_classes
        else {},
        target="" if is_classes else f"{targets['train'].dtype} {targets['train'].shape[1:]}",
        notes=(f"at most {asked.examples} examples were drawn, which are the rows counted here",)
        if asked.examples
        else (),
    )
    object.__setattr__(made, "card", card)
    return made
