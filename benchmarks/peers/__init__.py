"""The same networks, trained by the loops that people write: one module a library.

`tasks` says what is trained, `timing` what a loop is and how loops are timed beside each other. `own` is dlkit, `fused`
one compiled program by hand, `functional` the step loop that `linen` runs; `nnx`, `equinox` and `torch` have their own.
"""
