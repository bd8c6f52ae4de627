"""What each job of a batch system asks for: read from a text or a table, and checked."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from dlkit.bench.errors import UserError, nearest
from dlkit.bench.execution.memory import memory_bytes

__all__ = ["BatchSystem", "JobOptions", "job_options", "seconds_of"]

BatchSystem = Literal["slurm", "pbs"]
SHORT = {  # directives that have a name of their own here
    "slurm": {
        **dict.fromkeys(("--partition", "-p"), "queue"),
        **dict.fromkeys(("--account", "-A"), "account"),
        **dict.fromkeys(("--time", "-t"), "walltime"),
        **dict.fromkeys(("--cpus-per-task", "-c"), "cores"),
        "--mem": "memory",
    },
    "pbs": {"-q": "queue", "-A": "account"},
}
ITEM = re.compile(r",\s*(?=-|[A-Za-z]\w*\s*=)")  # a comma before the next option: values may have commas
DIRECTIVE = re.compile(r"(--?[\w-]+)[=\s]+(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What each job asks for, and how many there are.

    Attributes:
        cores: of each job.
        memory: of each job, such as 16GB.
        walltime: how long a job may last, such as 02:00:00; by default an hour. A new one takes its place while the run
            goes on.
        jobs: how many run at once.
        workers: processes of each job; by default one per core, or one in all where a directive asks for a GPU.
        queue: the queue, or partition.
        account: who pays.
        directives: other lines for the batch system, such as --gres=gpu:1.
        setup: lines of shell that run before the workers, such as module load python.
        interface: the network by which jobs reach this machine, such as ib0.
        python: the interpreter of the workers; by default this one.
        folder: for the jobs' output and the certificates, on a file system that the jobs see too.
    """

    cores: int
    memory: str
    walltime: str = "01:00:00"
    jobs: int = 1
    workers: int | None = None
    queue: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    interface: str | None = None
    python: str | None = None
    folder: str = "dlkit-jobs"

    @property
    def processes(self) -> int:
        """How many workers a job has."""
        asks_for_gpus = any("gpu" in each for each in self.directives)
        return self.workers or (1 if asks_for_gpus else self.cores)


def job_options(system: BatchSystem, given: str | Mapping[str, Any]) -> JobOptions:
    """Reads what jobs ask for.

    Args:
        system: the batch system.
        given: options by name; or as a text, ``"cores=8, memory=16GB, walltime=02:00:00, jobs=4, --gres=gpu:1"``, in
            which what begins with a dash is a line for the batch system.

    Returns:
        The options.

    Raises:
        UserError: with every mistake.

    Example:
        >>> job_options("slurm", "--partition=short, cores=8, memory=16GB, --nodelist=a1,a2").directives
        ('--nodelist=a1,a2',)
    """
    names = {each.name: each for each in fields(JobOptions)}
    options, directives, mistakes = dict[str, Any](), list[str](), list[str]()
    found = _items(system, given, mistakes)
    for name, value in found:
        if name == "directives":
            directives += [value] if isinstance(value, str) else list(value)
        elif name not in names:
            mistakes.append(f"{system}: no option '{name}'; {nearest(name, names)}")
        elif name in options:
            mistakes.append(f"{system}: '{name}' is given twice")
        elif name in ("cores", "jobs", "workers"):
            if not re.fullmatch(r"[1-9]\d*", str(value)) or isinstance(value, bool):
                mistakes.append(f"{system}: {name} must be a whole number of at least 1, got {value!r}")
            else:
                options[name] = int(value)
        elif name == "setup":
            options[name] = (value,) if isinstance(value, str) else tuple(map(str, value))
        else:
            options[name] = str(value)
    lacking = [name for name in ("cores", "memory") if name not in {each for each, _ in found}]
    if lacking:
        mistakes.append(
            f"{system}: missing {' and '.join(lacking)}: each job asks for so much; write "
            f'--{system} "cores=8, memory=16GB, walltime=02:00:00"'
        )
    if options.get("workers", 1) > options.get("cores", math.inf):
        mistakes.append(f"{system}: workers must be at most cores, {options['cores']}, got {options['workers']}")
    if "walltime" in options and seconds_of(options["walltime"]) is None:
        mistakes.append(
            f"{system}: walltime must be a time such as 02:00:00 or 1-12:00:00, got {options['walltime']!r}"
        )
    if "memory" in options:
        try:
            memory_bytes(options["memory"])
        except UserError as error:
            mistakes.append(f"{system}: {error}")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return JobOptions(**options, directives=tuple(directives))


def _items(system: BatchSystem, given: Any, mistakes: list[str]) -> list[tuple[str, Any]]:
    """Names and values of options; directives that have a name here by that name."""
    if isinstance(given, Mapping):
        return list(given.items())
    if not isinstance(given, str):
        mistakes.append(f'{system}: expected options such as "cores=8, memory=16GB", got {given!r}')
        return []
    found = []
    for item in filter(None, map(str.strip, ITEM.split(given))):
        if item.startswith("-"):
            match = DIRECTIVE.fullmatch(item)
            name = SHORT[system].get(match[1]) if match else None
            found.append((name, match[2].strip()) if match and name else ("directives", item))
        elif "=" in item:
            name, _, value = item.partition("=")
            found.append((name.strip(), value.strip()))
        else:
            mistakes.append(f"{system}: expected NAME=VALUE or a directive such as --gres=gpu:1, got '{item}'")
    return found


def seconds_of(walltime: str) -> int | None:
    """Returns the seconds of ``"hours:minutes:seconds"``, with days before a dash; None for what is no time."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?", walltime.strip())
    if match is None:
        return None
    days, first, second, third = (int(each or 0) for each in match.groups())
    if match[4] is None and match[1] is None:  # minutes and seconds
        return first * 60 + second
    return days * 86400 + first * 3600 + second * 60 + third
