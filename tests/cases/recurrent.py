"""Conformance rows of dlkit.layers: recurrent."""

from tests.cases.base import Case

CASES: tuple[Case, ...] = ()
