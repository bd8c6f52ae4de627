"""How the `dlkit` command ends, beside 0 for success."""

__all__ = ["DIFFERENT", "INTERRUPTED", "USER_ERROR"]

DIFFERENT = 1  # a replay has other numbers, or the machine or an experiment has something wrong
USER_ERROR = 2
INTERRUPTED = 130  # as shells say it of Ctrl-C
