"""What a thing is: hashes of data, hashes of functions, and functions by name.

- `programs`: the hash of a traced program.
- `parameters`: what its operations are made with, in canonical form.
- `hashing`: the hash of plain data, such as a plan.
- `fingerprints`: the hash of a user's functions and objects.
- `references`: ``"package.module:function"`` and ``"file.py:function"``.
"""

__all__ = ["fingerprints", "hashing", "parameters", "programs", "references"]
