"""This process and the computer under it.

- `environment`: cache folder, configuration of JAX, compiler options, threads.
- `kept_programs`: how much room compiled programs take in the cache folder.
- `quick_compilation`: programs that are called a few times.
- `program`: what decides the bits of a trial's numbers beside the trial itself.
- `training_code`: the part of it that is dlkit's own code, as a hash.
- `doctor`: checks of this machine.
- `interrupts`: Ctrl-C and the other signals that ask for the end; `boundary`: a wish to stop between two calls of what
  trains.
"""

__all__ = [
    "boundary",
    "doctor",
    "environment",
    "interrupts",
    "kept_programs",
    "program",
    "quick_compilation",
    "training_code",
]
