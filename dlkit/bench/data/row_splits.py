"""Which rows of a source are in which split, in every study: drawn by what is known of them, or its own."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dlkit.bench.data.base import SPLITS, Dataset
from dlkit.bench.data.splits import split, split_official
from dlkit.bench.errors import UserError

__all__ = ["ORDER", "RowSplits"]

Indices = np.ndarray[Any, np.dtype[np.int64]]
ROW = "row"
ORDER = "rows"  # decides the draw: the same whatever a file is called


@dataclass(frozen=True, eq=False)
class RowSplits:
    """How rows come into splits. Called with a study's number, it returns split -> rows.

    Attributes:
        where: the file or argument, for messages.
        pool: the rows that are split; those of the source's own validation and test are not among them.
        validation: the source's own validation rows; None: a share of the pool.
        test: the source's own test rows; None: a share of the pool.
        shares: of validation and test.
        strata: [rows of the source] numbers; every split has each in the same share. None for none.
        groups: [rows of the source] numbers; rows of one group stay together. None for none.
        times: [rows of the source] numbers; earlier ones are trained on. None for none.
    """

    where: str
    pool: Indices
    validation: Indices | None
    test: Indices | None
    shares: tuple[float, float]
    strata: np.ndarray[Any, Any] | None = None
    groups: np.ndarray[Any, Any] | None = None
    times: np.ndarray[Any, Any] | None = None

    def __post_init__(self) -> None:
        for name, share in zip(("validation", "test"), self.shares, strict=True):
            if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
                raise UserError(f"{self.where}: {name} must be a share of the examples between 0 and 1, got {share!r}")
        self._require_apart()

    @property
    def redraws(self) -> bool:
        """Whether each study draws its own splits."""
        return self._drawn.redraw is not None

    @property
    def strata_left_out(self) -> bool:
        """Whether there are too many strata to split by."""
        return self.strata is not None and self._strata() is None

    def __call__(self, study: int) -> Mapping[str, Indices]:
        """Returns the rows of each split in a study."""
        drawn = self._drawn.of_study(study)
        return {part: getattr(drawn, part)[ROW] for part in SPLITS}

    @cached_property
    def _drawn(self) -> Dataset:
        """The numbers of rows, split as examples are."""
        pool, name = {ROW: self.pool}, self.where
        known: dict[str, Any] = {"stratify": self._strata(), "groups": self.groups, "time": self.times}
        known = {key: None if values is None else values[self.pool] for key, values in known.items()}
        validation, test = self.shares
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that a split lacks: said with their names by the caller
            if self.test is None and self.validation is None:
                return split(name, pool, validation=validation, test=test, order=ORDER, **known)
            if self.test is None and self.validation is not None:  # the same draw, with the other part given
                drawn = split_official(name, pool, {ROW: self.validation}, validation=test, order=ORDER, **known)
                return Dataset(name, drawn.train, drawn.test, drawn.validation)
            if self.test is not None and self.validation is None:
                return split_official(name, pool, {ROW: self.test}, validation=validation, order=ORDER, **known)
        assert self.validation is not None and self.test is not None
        return Dataset(name, pool, {ROW: self.validation}, {ROW: self.test})

    def _strata(self) -> np.ndarray[Any, Any] | None:
        """Strata, unless there are so many that training would lack some."""
        if self.strata is None:
            return None
        own = (self.validation, self.test)
        share = sum(share for share, rows in zip(self.shares, own, strict=True) if rows is None)
        room = len(self.pool) * (1 - share) - len(np.unique(self.strata[self.pool]))
        return self.strata if room >= 1 else None

    def _require_apart(self) -> None:
        """Refuses a test of the source's own that has groups of the others, or is not later."""
        if self.test is None:
            return
        if self.groups is not None and len(both := np.intersect1d(self.groups[self.pool], self.groups[self.test])):
            raise UserError(
                f"{self.where}: {len(both)} groups have examples in the test and elsewhere; move them to one side, or "
                "leave groups out"
            )
        if self.times is not None and self.times[self.test].min() <= self.times[self.pool].max():
            raise UserError(
                f"{self.where}: test examples are not all later than the others; give later ones, or leave time out"
            )

    def said(self, names: Mapping[str, str]) -> str:
        """Returns how rows come into splits, in words.

        Args:
            names: of the columns of ``"strata"``, ``"groups"`` and ``"times"``.
        """
        own = [name for name, rows in (("validation", self.validation), ("test", self.test)) if rows is not None]
        parts = [f"{' and '.join(own)} as the source has {'it' if len(own) == 1 else 'them'}"] if own else []
        if len(own) < 2:
            how = "at random"
            if self.times is not None:
                how = f"in the order of '{names['times']}', the earliest for training"
            elif self.groups is not None:
                how = f"by whole groups of '{names['groups']}'"
            elif self._strata() is not None:
                how = f"at random, with each value of '{names['strata']}' in its share"
            parts.append(f"{'the others ' if own else ''}{how}")
        return "; ".join(parts) + (", anew in each study" if self.redraws else "")
