"""Programs that are called a few times, and then never again: compiling them costs more than running them."""

from collections.abc import Callable
from typing import Any

from dlkit.bench.machine.environment import compiler_options

__all__ = ["quickly_compiled"]

MANY_OPERATIONS = 1e8  # floating-point ones of a call, from which on a few calls cost more than a faster program


def quickly_compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """Compiles a function that is called a few times: as fast as it can be compiled, on a CPU.

    What takes long to run is compiled as training programs are. Of what does not, the time is not in the instructions,
    and is about the same either way.

    Args:
        function: which.
        *arguments: as it is called with, or their shapes.

    Returns:
        The program: it takes arguments of the same shapes.
    """
    import jax
    import jaxlib.version

    lowered = jax.jit(function).lower(*arguments)
    options: dict[str, Any] = dict(compiler_options())
    if options and _operations(lowered) < MANY_OPERATIONS:
        options |= {"xla_backend_optimization_level": 0}
        if jaxlib.version.__version__.startswith("0.10."):
            # the emitters of old versions, where they are still there, compile in half of the time; so does one module
            options |= {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
    return lowered.compile(compiler_options=options)


def _operations(lowered: Any) -> float:
    found = lowered.cost_analysis()
    return float(found.get("flops", 0.0)) if isinstance(found, dict) else 0.0
