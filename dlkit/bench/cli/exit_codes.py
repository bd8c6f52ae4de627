"""How the `dlkit` command ends, beside 0 for success."""

from dlkit.bench.machine.interrupts import ending_signal

__all__ = ["DIFFERENT", "NOT_PROMISED", "USER_ERROR", "interrupted"]

DIFFERENT = 1  # a replay has other numbers, or the machine or an experiment has something wrong
USER_ERROR = 2
NOT_PROMISED = 3  # a replay has other numbers, or could not run, where the same bits are not promised


def interrupted() -> int:
    """Returns the code after a signal that asks for the end, as shells say it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + ending_signal()
