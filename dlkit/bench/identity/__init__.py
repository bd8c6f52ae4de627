"""What a thing is: hashes of data, hashes of functions, and functions by name; and the code it needs.

- `programs`: the hash of a traced program.
- `tracing`: how functions are traced for it, and for training.
- `parameters`: what its operations are made with, in canonical form.
- `rules`: the programs of derivative rules and of rules for mapping.
- `bodies`: the traced functions that an equation runs.
- `hashing`: the hash of plain data, such as a plan.
- `fingerprints`: the hash of a user's functions and objects.
- `references`: ``"package.module:function"`` and ``"file.py:function"``.
- `replaced`: functions of dlkit and the libraries under it that others were put in the place of.
- `local_imports`: local modules of a folder, or that came along, imported beside others of the same name.
- `places`: where a user's code stands, for messages.
- `own_errors`: what their errors say, with the user's own frames.
- `local_code`: the local modules that a user's functions and objects need, as text.
"""

__all__ = [
    "bodies",
    "fingerprints",
    "hashing",
    "local_code",
    "local_imports",
    "own_errors",
    "parameters",
    "places",
    "programs",
    "references",
    "replaced",
    "rules",
    "tracing",
]
