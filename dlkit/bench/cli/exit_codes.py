"""How the `dlkit` command ends, beside 0 for success."""

__all__ = ["DIFFERENT", "INTERRUPTED", "NOT_PROMISED", "USER_ERROR"]

DIFFERENT = 1  # a replay has other numbers, or the machine or an experiment has something wrong
USER_ERROR = 2
NOT_PROMISED = 3  # a replay has other numbers, or could not run, where the same bits are not promised
INTERRUPTED = 130  # as shells say it of Ctrl-C
