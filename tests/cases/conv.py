"""Conformance rows of dlkit.layers: conv."""

from tests.cases.base import Case

CASES: tuple[Case, ...] = ()
