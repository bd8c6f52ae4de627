"""This process and the computer under it.

- `environment`: cache folder, configuration of JAX, compiler options, threads.
- `program`: what, beside the trial itself, decides its bits.
- `doctor`: checks of this machine.
- `interrupts`: Ctrl-C.
"""

__all__ = ["doctor", "environment", "interrupts", "program"]
