"""The headline of a run: who leads where, in one sentence."""

from collections.abc import Iterable, Mapping, Sequence

from dlkit.bench.analysis.answer_rows import Row, in_words, some_of, with_verb
from dlkit.bench.analysis.verdict import Kind

__all__ = ["headline_of"]

LEADS: Mapping[Kind, tuple[str, str, str]] = {  # of one contender, of several, and what follows the problems
    "winner": ("is best on", "are best on", ""),
    "unsettled": ("is ahead on", "are ahead on", ", not settled"),
    "tie": ("shares the lead on", "share the lead on", ""),
}
NONE_APART = "no contender is told apart from the leader"
NOBODY = "nobody is told apart from the leader on"
MOST_LEADERS = 6  # by name
FEW_PROBLEMS = 4  # whose leaders are named one by one, where that is shorter


def headline_of(rows: Sequence[Row], contenders: Sequence[str], *, goes_on: bool) -> str:
    """Returns who leads on which problems, or on how many, and who is worse there, in a sentence.

    Args:
        rows: one a problem.
        contenders: labels, best first.
        goes_on: whether trials are missing that may change it.
    """
    known = [each for each in rows if each.kind != "incomplete"]
    if len(rows) > 1 and not known:
        return f"Nothing to compare{' yet' * goes_on}: no two contenders finished on a problem."
    text = _sentence(rows, contenders)
    if goes_on and known:
        return f"So far: {text}"
    return f"{text[0].upper()}{text[1:]}" if text.startswith(NONE_APART) else text  # no label begins it


def _sentence(rows: Sequence[Row], contenders: Sequence[str]) -> str:
    """Without a capital."""
    known = [each for each in rows if each.kind != "incomplete"]
    if len(rows) == 1:
        return f"{rows[0].name}: {rows[0].sentence}."
    total, so_far = len(known), _so_far(known, rows)
    if all(row.is_open for row in known):
        where = f"either of {total} problems{so_far}" if total == 2 else f"any of {total} problems{so_far}"
        where = known[0].name if total == 1 else where
        return f"{NONE_APART} on {where}."
    parts = [*_leaders(known, contenders, so_far), *_behind(known, contenders, so_far)]
    if any(row.labels("tied") for row in known):
        is_doubtful = any(row.labels("doubtful") for row in known)  # told apart, and yet open
        parts.append(
            "whether anybody else is worse is open" if is_doubtful else "nobody else is told apart from a leader"
        )
    by_contender, by_problem = (f"{'; '.join(each)}." for each in (parts, _problem_by_problem(known, so_far)))
    return by_problem if total <= FEW_PROBLEMS and len(by_problem) <= len(by_contender) else by_contender


def _problem_by_problem(rows: Sequence[Row], so_far: str) -> list[str]:
    """Who leads on each problem, alone or not; problems of which the same is to be said in one clause."""
    alike: dict[tuple[Kind, tuple[str, ...]], list[str]] = {}
    for row in rows:
        leaders = () if row.is_open else tuple(sorted(row.labels("best", "tied")))
        alike.setdefault((row.kind, leaders), []).append(row.name)
    clauses = []
    for (kind, leaders), names in sorted(alike.items(), key=lambda item: not item[0][1]):
        where = _problems(names, len(rows), so_far) if len(names) in {1, len(rows)} else in_words(names)
        verb = LEADS[kind][len(leaders) > 1]
        who = f"{some_of(leaders, MOST_LEADERS)} {verb}" if leaders else NOBODY
        clauses.append(f"{who} {where}{LEADS[kind][2]}")
    return clauses


def _so_far(known: Sequence[Row], rows: Sequence[Row]) -> str:
    """What follows a number of problems where others have nothing to compare."""
    return " compared" if len(known) < len(rows) else ""


def _leaders(rows: Sequence[Row], contenders: Sequence[str], so_far: str) -> list[str]:
    """Who is best alone, and who leads on the most problems, alone or not; those with equal counts in one clause."""
    total = len(rows)
    led = {
        label: {kind: [row.name for row in rows if row.kind == kind and row.cells[label].leads] for kind in LEADS}
        for label in contenders
    }
    counts = {label: sum(map(len, kinds.values())) for label, kinds in led.items()}
    alike: dict[tuple[tuple[Kind, str], ...], list[str]] = {}
    for label, kinds in led.items():
        if counts[label] == max(counts.values()) or kinds["winner"] or kinds["unsettled"]:
            said = tuple((kind, _problems(names, total, so_far)) for kind in LEADS if (names := kinds[kind]))
            alike.setdefault(said, []).append(label)
    order = sorted(alike, key=lambda said: said[0][0] == "tie")
    return [f"{some_of(alike[said], MOST_LEADERS)} {_led(said, len(alike[said]))}" for said in order]


def _led(said: Iterable[tuple[Kind, str]], count: int) -> str:
    """Where so many contenders lead, in words."""
    return " and ".join(f"{LEADS[kind][count > 1]} {problems}{LEADS[kind][2]}" for kind, problems in said)


def _behind(rows: Sequence[Row], contenders: Sequence[str], so_far: str) -> list[str]:
    """Who is worse than the leader, and on which problems; those with the same problems in one clause."""
    where: dict[tuple[str, ...], list[str]] = {}
    for label in contenders:
        if names := tuple(row.name for row in rows if row.cells[label].place == "worse"):
            where.setdefault(names, []).append(label)
    if len(where) > 3:  # too many to name: by how many
        counts = {label: len(names) for names, labels in where.items() for label in labels}
        fewest, most = min(counts.values()), max(counts.values())
        spread = f"{fewest} to {most}" if fewest < most else f"{most}"
        return [f"{with_verb(list(counts))} worse on {spread} of {len(rows)} problems{so_far}"]
    return [f"{with_verb(labels)} worse on {_problems(names, len(rows), so_far)}" for names, labels in where.items()]


def _problems(names: Sequence[str], total: int, so_far: str) -> str:
    """Problems by how many they are; one of them by its name."""
    if len(names) == 1:
        return names[0]
    count = ("both" if total == 2 else f"all {total}") if len(names) == total else f"{len(names)} of {total}"
    return f"{count} problems{so_far}"
