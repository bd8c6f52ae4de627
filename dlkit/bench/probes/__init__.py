"""Probes: diagnostics of training, computed inside the compiled segment at evaluation points."""

from dlkit.bench.probes.base import PROBE_EXAMPLES, Probe, View, curves_of, probe_batch
from dlkit.bench.probes.catalog import PROBES, check, get
from dlkit.bench.probes.curvature import sharpness
from dlkit.bench.probes.marked_activations import marked_activations

__all__ = [
    "PROBES",
    "PROBE_EXAMPLES",
    "Probe",
    "View",
    "check",
    "curves_of",
    "get",
    "marked_activations",
    "probe_batch",
    "sharpness",
]
