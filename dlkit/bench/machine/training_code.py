"""The hash of dlkit's own code that makes a trial's numbers: of what the code does, not how or where it is written.

Stored trials are used again as long as this hash stays the same. Comments, docstrings, formatting, the version number,
and the file that a function stands in do not count; whatever is executed does.

The code is taken apart into its top-level statements: functions, classes, constants. Each counts with its syntax tree,
and with what the names in it stand for: the statement that defines the name, in whichever file, or the package that it
comes from. So a function can move to another file with its imports, while an import of another function that happens
to have the same name changes the hash.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dlkit.bench.doors import open_ours
from dlkit.bench.machine.environment import cache_folder, keep

__all__ = ["TRAINING_ROOMS", "code_digest", "content_digest", "reached_modules"]

# Folders of the bench that make a trial's numbers, with all that they import. Reports, statistics and the command line
# may change without invalidating trials.
TRAINING_ROOMS = ("data", "optimizers", "probes", "problems", "training")
NOT_EXECUTED = frozenset({"__all__", "__version__"})  # constants that no number depends on
NOT_WRITTEN = frozenset({"ctx", "kind", "type_comment"})  # of syntax trees: says nothing that the rest does not
WITH_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)  # nodes in whose lists statements stand
ROUNDS = 10  # how far the meaning of names is followed: a name, the names in its definition, the names in theirs, ...


@cache
def code_digest() -> str:
    """Returns the hash of the code that makes a trial's numbers.

    It is computed once for each state of dlkit's files, and kept in the cache folder: taking the code apart costs more
    than starting a worker may.
    """
    package = Path(__file__).parents[2]
    raw = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        raw.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    kept = cache_folder() / "code" / raw.hexdigest()
    try:
        with open_ours(kept) as file:
            known = file.read().decode("ascii")
    except (OSError, ValueError):
        known = ""
    if re.fullmatch("[0-9a-f]{64}", known):
        return known
    found = content_digest(package)
    keep(kept, found.encode("ascii"))
    return found


def content_digest(package: Path) -> str:
    """Returns the hash of a package's training code.

    Args:
        package: the folder of `dlkit`, or of a package that is laid out like it.

    Returns:
        A SHA-256: the same for every Python that can read the code.
    """
    modules = _reached(_files(package), package.name)
    return _Code(modules).digest()


def reached_modules(package: Path) -> set[str]:
    """Returns the names of the modules that a package's training rooms reach by their imports, themselves among them.

    Args:
        package: the folder of `dlkit`, or of a package that is laid out like it.
    """
    return set(_reached(_files(package), package.name))


class _Module(NamedTuple):
    """A module, taken apart.

    Attributes:
        statements: at the top level, but for imports and for what is not executed.
        imported: name -> dotted names of what it was imported as, anywhere in the module.
    """

    statements: list[ast.stmt]
    imported: dict[str, set[str]]


def _files(package: Path) -> dict[str, Path]:
    """Dotted name of each module -> its file."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def _reached(files: Mapping[str, Path], package: str) -> dict[str, _Module]:
    """The modules of the training rooms, and all that they import of the package."""
    rooms = {f"{package}.bench.{room}" for room in TRAINING_ROOMS}
    only_names = {package, f"{package}.bench"}  # of what can be imported from them: no number depends on these two
    waiting = [name for name in files if rooms.intersection(_prefixes(name))]
    found: dict[str, _Module] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name in only_names or name not in files:
            continue
        found[name] = _module(files[name].read_bytes())
        for target in set().union(*found[name].imported.values()):
            waiting += _prefixes(target)  # importing a module runs the packages that it stands in
    return found


def _prefixes(dotted: str) -> list[str]:
    """The dotted name itself, and without its last parts: longest first."""
    parts = dotted.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _module(source: bytes) -> _Module:
    tree = ast.parse(source)
    imported: dict[str, set[str]] = {}
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                imported.setdefault(alias.asname or first, set()).add(alias.name if alias.asname else first)
                imported.setdefault("", set()).add(alias.name)  # no name stands for it, but it is imported
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
    executed = [
        statement
        for statement in tree.body
        if not isinstance(statement, ast.Import | ast.ImportFrom)
        and not _does_nothing(statement)
        and not _for_type_checkers(statement)
        and not NOT_EXECUTED & _bound_by(statement)
    ]
    return _Module(executed, imported)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node, in no order, without looking into expressions: they are a tenth of the nodes."""
    waiting = [tree]
    while waiting:
        for value in vars(waiting.pop()).values():
            if isinstance(value, list) and value and isinstance(value[0], WITH_STATEMENTS):
                yield from value
                waiting += value


def _does_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, another text that stands alone, or `pass`."""
    alone = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or alone


def _for_type_checkers(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Name)
        and statement.test.id == "TYPE_CHECKING"
        and not statement.orelse
    )


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    inner = (ast.FunctionDef, ast.ClassDef)
    return names | {node.name for node in ast.walk(statement) if isinstance(node, inner)}


class _Text(NamedTuple):
    """What is written of a statement, and the names it uses of its module: a name, or a module's and what it has."""

    parts: list[str]
    names: set[tuple[str, ...]]


class _Code:
    """Modules as statements that refer to each other."""

    def __init__(self, modules: Mapping[str, _Module]) -> None:
        """Numbers the statements, and finds which of them define a name."""
        self.modules = modules
        self.statements = [(name, each) for name, module in sorted(modules.items()) for each in module.statements]
        self.defined: dict[str, dict[str, list[int]]] = {name: {} for name in modules}
        for number, (name, statement) in enumerate(self.statements):
            for bound in _bound_by(statement):
                self.defined[name].setdefault(bound, []).append(number)

    def digest(self) -> str:
        """Hashes every statement, then again with the hashes of what its names stand for."""
        own, meanings = [], []
        for name, statement in self.statements:
            text = _Text([], set())
            self._write(statement, name, frozenset(), text)
            found = {dotted: self._meaning(name, dotted) for dotted in sorted(text.names)}
            outside = [(dotted[-1], part) for dotted, parts in found.items() for part in parts if isinstance(part, str)]
            own.append(_hash([*text.parts, *(f"{one}={other}" for one, other in outside)]))
            inside = [(dotted[-1], part) for dotted, parts in found.items() for part in parts if isinstance(part, int)]
            meanings.append(inside)
        hashes = own
        for _ in range(ROUNDS):
            hashes = [
                _hash([text, *(f"{name}={hashes[number]}" for name, number in inside)])
                for text, inside in zip(own, meanings, strict=True)
            ]
        return _hash(sorted(hashes))

    def _meaning(self, module: str, dotted: tuple[str, ...]) -> list[int | str]:
        """What a name stands for in a module: the numbers of statements, or what it is called in its package.

        Args:
            module: the module's name.
            dotted: a name, or a module that is imported there and what is taken from it.
        """
        meaning: list[int | str] = []
        waiting = [(module, dotted)]
        seen = set()
        while waiting:
            place, (name, *rest) = waiting.pop()
            if (place, name) in seen:
                continue
            seen.add((place, name))
            meaning += self.defined[place].get(name, ())
            for target in sorted(self.modules[place].imported.get(name, ())):
                home = next((each for each in _prefixes(target) if each in self.modules), None)
                inner = (*target.split(".")[len(home.split(".")) if home else 0 :], *rest)
                if home and inner:
                    waiting.append((home, inner))
                elif home is None:
                    meaning.append(target)
        return meaning

    def _write(self, value: Any, module: str, local: frozenset[str], to: _Text) -> None:
        """Writes a syntax tree, in the same way for every Python.

        Args:
            value: a tree, a list of trees, or what stands in their fields.
            module: the name of the module that it is in.
            local: names that belong to the functions around it.
            to: where it is written.
        """
        if isinstance(value, ast.Attribute) and (taken := self._taken_from_module(value, module, local)):
            to.names.add(taken)
            to.parts.append(f"<{taken[-1]}>")  # the module's own name does not count
        elif isinstance(value, ast.AST):
            if isinstance(value, ast.Name) and isinstance(value.ctx, ast.Load) and value.id not in local:
                to.names.add((value.id,))
            if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                local |= _locals(value)
            to.parts.append(f"{type(value).__name__}(")
            for field in value._fields:
                content = getattr(value, field, None)
                if field not in NOT_WRITTEN and content is not None and content != []:
                    to.parts.append(f"{field}=")
                    self._write(content, module, local, to)
            to.parts.append(")")
        elif isinstance(value, list):
            to.parts.append("[")
            for each in value:
                if not isinstance(each, ast.stmt) or not (_does_nothing(each) or self._own_import(each)):
                    self._write(each, module, local, to)
            to.parts.append("]")
        else:
            to.parts.append(f"{type(value).__name__}:{value!r},")

    def _taken_from_module(self, node: ast.Attribute, module: str, local: frozenset[str]) -> tuple[str, str] | None:
        """The name of an imported module of the package and what is taken from it: ``losses.mse``."""
        if isinstance(node.value, ast.Name) and node.value.id not in local:
            targets = self.modules[module].imported.get(node.value.id, ())
            return (node.value.id, node.attr) if targets and all(each in self.modules for each in targets) else None
        return None

    def _own_import(self, statement: ast.stmt) -> bool:
        """Whether a statement inside a function imports modules of the package: its names count where they are used."""
        own = next(iter(self.modules)).partition(".")[0]
        if isinstance(statement, ast.ImportFrom):
            return str(statement.module).partition(".")[0] == own
        return isinstance(statement, ast.Import) and all(
            alias.name.partition(".")[0] == own for alias in statement.names
        )


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    """The names that belong to a function: its parameters, and what it assigns."""
    parameters = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    return parameters | {
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
