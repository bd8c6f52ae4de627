"""Problems from the modules of other libraries.

- `model`: what the constructors share; `pairing`: whether their scores fit predictions and targets.
- `flax`, `equinox`, `haiku`: the constructor for each library.
"""

__all__ = ["equinox", "flax", "haiku", "model", "pairing"]
