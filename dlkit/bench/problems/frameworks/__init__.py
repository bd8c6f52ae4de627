"""Models of other libraries as problems.

- `model`: what they have in common.
- `flax`, `equinox`, `haiku`: modules of each.
"""

__all__ = ["equinox", "flax", "haiku", "model"]
