"""The tables of a run folder's file, and the number of their format."""

__all__ = ["FORMAT", "PARTS", "TABLES"]

FORMAT = 6
TABLES = (
    """CREATE TABLE spec (
        digest TEXT PRIMARY KEY, plan TEXT NOT NULL, sources TEXT NOT NULL, own_code TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE own_code (
        digest TEXT PRIMARY KEY, facts TEXT NOT NULL, modules TEXT NOT NULL, settings TEXT NOT NULL,
        buffers TEXT NOT NULL, data BLOB NOT NULL
    )""",
    "CREATE TABLE buffer (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE program (digest TEXT PRIMARY KEY, software TEXT NOT NULL, fields TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE drawn (
        search TEXT NOT NULL, software TEXT NOT NULL, position INTEGER NOT NULL, point TEXT NOT NULL,
        PRIMARY KEY (search, software, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE trial (
        id TEXT NOT NULL, software TEXT NOT NULL, program TEXT NOT NULL, identity TEXT NOT NULL, status TEXT NOT NULL,
        reason TEXT NOT NULL, traceback TEXT NOT NULL, diverged_at INTEGER, seconds REAL NOT NULL,
        compile_seconds REAL NOT NULL, validation TEXT NOT NULL, steps BLOB NOT NULL,
        gradient_evaluations INTEGER NOT NULL, value_evaluations INTEGER NOT NULL,
        hvp_evaluations INTEGER NOT NULL, restored_at INTEGER, gradients BLOB,
        PRIMARY KEY (id, software)
    ) WITHOUT ROWID""",
    """CREATE TABLE curve (
        trial TEXT NOT NULL, software TEXT NOT NULL, metric TEXT NOT NULL, points BLOB NOT NULL,
        PRIMARY KEY (trial, software, metric)
    ) WITHOUT ROWID""",
    """CREATE TABLE timing (
        key TEXT NOT NULL, software TEXT NOT NULL, program TEXT NOT NULL, machine TEXT NOT NULL, session TEXT NOT NULL,
        timing TEXT NOT NULL, PRIMARY KEY (key, software)
    ) WITHOUT ROWID""",
    """CREATE TABLE target (
        key TEXT NOT NULL, software TEXT NOT NULL, problem TEXT NOT NULL, goals TEXT NOT NULL, source TEXT NOT NULL,
        digest TEXT NOT NULL, PRIMARY KEY (key, software)
    ) WITHOUT ROWID""",
    """CREATE TABLE ending (
        trial TEXT NOT NULL, software TEXT NOT NULL, target REAL, kind TEXT NOT NULL, step INTEGER,
        PRIMARY KEY (trial, software)
    ) WITHOUT ROWID""",
    """CREATE TABLE sample (
        trial TEXT NOT NULL, software TEXT NOT NULL, shape TEXT NOT NULL, numbers BLOB NOT NULL,
        PRIMARY KEY (trial, software)
    ) WITHOUT ROWID""",
    """CREATE TABLE example_score (
        trial TEXT NOT NULL, software TEXT NOT NULL, examples INTEGER NOT NULL, form TEXT NOT NULL,
        scores BLOB NOT NULL, PRIMARY KEY (trial, software)
    ) WITHOUT ROWID""",
)
PARTS = ("curve", "sample", "example_score")  # what a trial may have beside its row in the table `trial`
