"""Probes: diagnostics of training, computed inside the compiled segment at evaluation points."""

from dlkit.bench.probes.base import PROBE_EXAMPLES, OptimizerView, Probe, View, curves_of, probe_batch
from dlkit.bench.probes.catalog import PROBES, check, curve_names, get, load
from dlkit.bench.probes.curvature import preconditioned_sharpness, sharpness
from dlkit.bench.probes.marked_activations import marked_activations

__all__ = [
    "PROBES",
    "PROBE_EXAMPLES",
    "OptimizerView",
    "Probe",
    "View",
    "check",
    "curve_names",
    "curves_of",
    "get",
    "load",
    "marked_activations",
    "preconditioned_sharpness",
    "probe_batch",
    "sharpness",
]
