"""The libraries that compute eigenvectors, decompositions and products outside XLA: which they are, and their threads.

On a CPU, JAX calls the LAPACK that comes with SciPy for `eigh`, `qr`, `svd`, `cholesky`, `lu` and triangular solves: of
SOAP and Shampoo, say. NumPy has a copy of its own. How many threads such a library uses decides in what order it sums,
and so the last bits of what it returns; so do its version, and the kernels that it takes for this kind of CPU.

A library is asked through the very module of SciPy or NumPy that is linked to it: a process may hold several others,
of torch, say, that no number of dlkit's depends on.
"""

import ctypes
import itertools
import threading
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["UNKNOWN", "Library", "blas_cores", "blas_names", "blas_threads", "libraries"]

UNKNOWN = "unknown"
# Package -> its extension module that calls LAPACK. SciPy's is the one whose functions JAX takes.
CALLERS = {"scipy": ("linalg", "cython_lapack"), "numpy": ("linalg", "_umath_linalg")}
# Wheels rename OpenBLAS's functions, so that two copies can be in one process.
AFFIXES = tuple(itertools.product(("scipy_", ""), ("", "64_", "_64")))


class Library(NamedTuple):
    """A library of linear algebra, as one package calls it.

    Attributes:
        package: that calls it: scipy (and JAX through it) or numpy.
        name: of the library, its version, and how it makes threads: ``"openblas 0.3.31 pthreads"``.
        core: the kind of CPU whose kernels it has taken, by the name it has for that.
        get: returns how many threads it uses; None where it does not say.
        set: makes it use so many; None where it cannot be told.
    """

    package: str
    name: str
    core: str = UNKNOWN
    get: Callable[[], int] | None = None
    set: Callable[[int], Any] | None = None

    @property
    def threads(self) -> str:
        """How many threads it uses, as it says now."""
        return UNKNOWN if self.get is None else str(self.get())


@cache
def libraries() -> tuple[Library, ...]:
    """Returns the libraries that SciPy and NumPy call; they are loaded now if they are not yet."""
    return tuple(_library(package, *caller) for package, caller in CALLERS.items())


def blas_names() -> str:
    """Returns which libraries there are: ``"scipy: openblas 0.3.31 pthreads, numpy: openblas 0.3.30 pthreads"``."""
    return _of_both([each.name for each in libraries()])


def blas_cores() -> str:
    """Returns the kinds of CPU whose kernels they use: one name where it is the same for both packages."""
    return _of_both([each.core for each in libraries()])


def blas_threads() -> str:
    """Returns how many threads they use now, as they say themselves: one number where it is the same for both."""
    return _of_both([each.threads for each in libraries()])


def _of_both(values: list[str]) -> str:
    if len(set(values)) == 1:
        return values[0]
    return ", ".join(f"{each.package}: {value}" for each, value in zip(libraries(), values, strict=True))


def _library(package: str, *caller: str) -> Library:
    for path in _files(package, *caller):
        try:
            handle = ctypes.CDLL(str(path))
        except OSError:
            continue
        for known in (_openblas, _mkl, _blis):
            found = known(package, handle)
            if found is not None:
                return found
    return Library(package, _as_built(package))


def _files(package: str, folder: str, module: str) -> list[Path]:
    """The extension module, whose own libraries can be asked through it; then the libraries that its wheel brings."""
    spec = find_spec(package)  # of the package alone: its folder of linear algebra takes a while to import
    if spec is None or spec.origin is None:
        return []
    home = Path(spec.origin).parent
    found = PathFinder.find_spec(module, [str(home / folder)])
    beside = [*home.parent.glob(f"{package}.libs/*openblas*"), *home.glob(".dylibs/*openblas*")]
    return ([Path(found.origin)] if found and found.origin else []) + sorted(beside)


def _function(handle: ctypes.CDLL, name: str, result: Any = ctypes.c_int, takes: tuple[Any, ...] = ()) -> Any:
    function = getattr(handle, name)
    function.restype, function.argtypes = result, takes
    return function


def _text(function: Any) -> str:
    return (function() or b"").decode("ascii", "replace").strip() or UNKNOWN


def _openblas(package: str, handle: ctypes.CDLL) -> Library | None:
    for prefix, suffix in AFFIXES:
        if not hasattr(handle, f"{prefix}openblas_get_config{suffix}"):
            continue

        def of(name: str, *kinds: Any, prefix: str = prefix, suffix: str = suffix) -> Any:
            return _function(handle, f"{prefix}openblas_{name}{suffix}", *kinds)

        # "OpenBLAS 0.3.31 USE64BITINT DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64"
        version = (_text(of("get_config", ctypes.c_char_p)).split() + [UNKNOWN] * 2)[1]
        layer = {0: "sequential", 1: "pthreads", 2: "openmp"}.get(of("get_parallel")(), UNKNOWN)
        core = _text(of("get_corename", ctypes.c_char_p))
        adjust = of("set_num_threads", None, (ctypes.c_int,))
        get = of("get_num_threads") if layer != "openmp" else _of_new_threads(handle)
        return Library(package, f"openblas {version} {layer}", core, get, adjust)
    return None


def _of_new_threads(handle: ctypes.CDLL) -> Callable[[], int] | None:
    """How many threads OpenMP gives a thread that has not asked for a number, such as those of XLA.

    With OpenMP each thread has a number of its own, which no other thread can set: what counts is what stood in the
    environment when it was loaded.
    """
    if not hasattr(handle, "omp_get_max_threads"):
        return None
    ask = _function(handle, "omp_get_max_threads")

    def get() -> int:
        said: list[int] = []
        thread = threading.Thread(target=lambda: said.append(ask()))
        thread.start()
        thread.join()
        return said[0]

    return get


def _mkl(package: str, handle: ctypes.CDLL) -> Library | None:
    if not hasattr(handle, "MKL_Get_Max_Threads"):
        return None
    buffer = ctypes.create_string_buffer(200)
    _function(handle, "MKL_Get_Version_String", None, (ctypes.c_char_p, ctypes.c_int))(buffer, len(buffer))
    adjust = _function(handle, "MKL_Set_Num_Threads", None, (ctypes.c_int,))
    about = " ".join(
        buffer.value.decode("ascii", "replace").split()
    )  # "... Version 2024.0 for Intel(R) 64 ... for ..."
    return Library(package, f"mkl, {about}", about, _function(handle, "MKL_Get_Max_Threads"), adjust)


def _blis(package: str, handle: ctypes.CDLL) -> Library | None:
    if not hasattr(handle, "bli_thread_get_num_threads"):
        return None
    version = _text(_function(handle, "bli_info_get_version_str", ctypes.c_char_p))
    arch = _function(handle, "bli_arch_query_id")()
    core = _text(lambda: _function(handle, "bli_arch_string", ctypes.c_char_p, (ctypes.c_int,))(arch))
    adjust = _function(handle, "bli_thread_set_num_threads", None, (ctypes.c_long,))
    get = _function(handle, "bli_thread_get_num_threads", ctypes.c_long)
    return Library(package, f"blis {version}", core, lambda: max(1, get()), adjust)


def _as_built(package: str) -> str:
    """What a package was built with, where the library itself cannot be asked, such as Apple's Accelerate."""
    import importlib

    try:
        config = importlib.import_module(f"{package}.__config__").CONFIG["Build Dependencies"]["lapack"]
        return f"{config['name']} {config.get('version', '')}".strip()
    except (ImportError, AttributeError, KeyError, TypeError):
        return UNKNOWN
