"""This process and the computer under it.

- `preparation`: one for every process that trains: the threads of XLA, linear algebra and OpenMP.
- `linear_algebra`: the libraries that compute eigenvectors and decompositions, and their threads.
- `environment`: cache folder, configuration of JAX, compiler options.
- `kept_programs`: how much room compiled programs take in the cache folder.
- `quick_compilation`: programs that are called a few times.
- `program`: what decides the bits of a trial's numbers beside the trial itself.
- `training_code`: the part of it that is dlkit's own code, as a hash.
- `canaries`: what some versions of JAX compute wrong; `doctor`: checks of this machine.
- `interrupts`: Ctrl-C and the other signals that ask for the end; `boundary`: a wish to stop between two calls of what
  trains.
"""

__all__ = [
    "boundary",
    "canaries",
    "doctor",
    "environment",
    "interrupts",
    "kept_programs",
    "linear_algebra",
    "preparation",
    "program",
    "quick_compilation",
    "training_code",
]
