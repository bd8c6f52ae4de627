"""Feeds a reader with bytes that atheris makes, as long as it is told: `python -m tests.fuzz.run npz --seconds 600`.

It needs the package atheris, which the tests do not: install it beside dlkit. What a reader raises beside a `UserError`
is printed once for each line of dlkit that it comes from, and its bytes are kept in the folder `build/fuzz/READER`.
"""

import argparse
import hashlib
import sys
import time
import traceback
from pathlib import Path

FOLLOWED = ["dlkit.bench.data", "dlkit.bench.store", "dlkit.bench.plan", "dlkit.bench.spec", "dlkit.bench.export"]
SLOW = 5.0  # seconds that no input of such a size should take


def main() -> None:
    """Runs one reader."""
    import atheris

    with atheris.instrument_imports(include=FOLLOWED):
        from tests.fuzz.targets import SEEDS, TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--gigabytes", type=int, default=4, help="of memory that one input may take")
    given = parser.parse_args()
    folder = Path("build/fuzz") / given.reader
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    (folder / "corpus" / "right").write_bytes(SEEDS[given.reader]())
    found: set[tuple[str, str, int]] = set()

    def keep(kind: str, file: str, line: int, data: bytes, said: str) -> None:
        if (kind, file, line) in found:
            return
        found.add((kind, file, line))
        name = f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}"
        (folder / name).write_bytes(data)
        print(f"FOUND {given.reader}: {kind} at {file}:{line}: {said[:200]!r} ({name})", flush=True)

    def once(data: bytes) -> None:
        began = time.monotonic()
        try:
            TARGETS[given.reader](data)
        except Exception as error:
            own = [frame for frame in traceback.extract_tb(error.__traceback__) if "dlkit" in frame.filename]
            keep(type(error).__name__, own[-1].filename if own else "", own[-1].lineno or 0, data, str(error))
        if time.monotonic() - began > SLOW:
            keep("slow", "", 0, data, f"{time.monotonic() - began:.1f} s")

    flags = [f"-max_total_time={given.seconds}", f"-artifact_prefix={folder}/", "-timeout=60", "-max_len=65536"]
    flags += [f"-rss_limit_mb={1024 * given.gigabytes}", "-print_final_stats=1", str(folder / "corpus")]
    atheris.Setup([sys.argv[0], *flags], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
