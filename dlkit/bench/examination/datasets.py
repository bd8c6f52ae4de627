"""One's own data: classes that a split lacks, inputs that are constant or far from 1."""

from collections.abc import Iterator

import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.examination.ticks import Tick

__all__ = ["data_ticks"]

MOST_CLASSES = 0.2  # of the training examples: whole numbers with more values than this are counts or indices
MOST_NUMBERS = 50_000_000  # of a dataset that is looked through
FAR = 1e3  # inputs that are larger than this train badly


def data_ticks(dataset: Dataset) -> Iterator[Tick]:
    """Looks at a dataset.

    Args:
        dataset: which.

    Yields:
        A tick for each thing that was looked at; none for a problem without data, or with very many.
    """
    numbers = sum(array.size for part in SPLITS for array in getattr(dataset, part).values())
    if not dataset.examples or numbers > MOST_NUMBERS:
        return
    owner = f"dataset '{dataset.name}'"
    for name, array in dataset.train.items():
        splits = [getattr(dataset, part)[name] for part in SPLITS]
        if name == "targets" and array.size and all((each == array.flat[0]).all() for each in splits):
            text = f"all examples have {name} {array.flat[0]:g}: there is nothing to learn"
            yield Tick(
                "classes", text, False, owner, "", "see that the right array was taken, and shuffle before splitting"
            )
            continue
        yield from _classes(dataset, owner, name)
        if array.dtype.kind == "f" and array.size:
            size = float(np.abs(array).max())
            if array.ndim > 1 and len(array) > 1 and (array == array[:1]).all():
                text = f"array '{name}' is the same for every training example"
                yield Tick("data", text, None, owner, "", "see that the right array was taken")
            elif name == "inputs" and size > FAR:
                text = f"inputs are as large as {size:.3g}"
                yield Tick(
                    "data", text, None, owner, "", "standardize them, with mean and deviation of the training split"
                )


def _classes(dataset: Dataset, owner: str, name: str) -> Iterator[Tick]:
    """Whether training examples have every class that others have, and the other way round."""
    splits = {part: getattr(dataset, part)[name] for part in SPLITS}
    if any(array.dtype.kind not in "iu" or array.ndim != 1 for array in splits.values()):
        return
    found = {part: {*np.unique(array).tolist()} for part, array in splits.items()}
    every = set.union(*found.values())
    if len(every) > max(2, MOST_CLASSES * dataset.examples):
        return
    remedy = "shuffle before splitting, or split each class alike (stratify)"
    if len(found["train"]) == 1 and len(every) > 1:
        text = f"all training examples have {name} {next(iter(found['train']))}, of {len(every)} classes in all"
        yield Tick("classes", text, False, owner, "", remedy)
        return
    lacking = {part: sorted(every - found[part]) for part in SPLITS}
    for part, missing in lacking.items():
        if missing:
            named = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            text = f"split '{part}' has no example of class {named} of '{name}', and others have"
            yield Tick("classes", text, None, owner, "", remedy)
    if not any(lacking.values()):
        yield Tick("classes", f"{owner}: all {len(every)} classes of '{name}' are in every split", True)
