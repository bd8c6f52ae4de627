"""Another project's distribution `dlkit` installs a package of this name, too: says so where both are installed."""

import os
import sys
import warnings

__all__ = ["other_distribution", "warn_of_another"]


def other_distribution() -> str | None:
    """Returns where the distribution `dlkit` is installed, which is not this one (`dlkit-jax`), or None.

    Names of files on Python's path are read, and nothing is imported.

    Example:
        >>> other_distribution() is None
        True
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 (pathlib is not imported when Python starts)
        except OSError:  # a zip archive, or a folder that is not there
            continue
        for name in names:
            lower = name.lower()
            if lower.startswith("dlkit-") and lower.endswith((".dist-info", ".egg-info")):
                return os.path.join(folder, name)  # noqa: PTH118
    return None


def warn_of_another() -> None:
    """Warns if the other distribution is installed, too: files of the two overwrite each other.

    Example:
        >>> warn_of_another()
    """
    if place := other_distribution():
        warnings.warn(
            f"another project's distribution 'dlkit' is installed ({place}); its files and those of 'dlkit-jax' "
            "overwrite each other: run `pip uninstall dlkit dlkit-jax`, then install dlkit-jax again",
            RuntimeWarning,
            stacklevel=1,  # the same line from everywhere, so that it is shown once
        )
