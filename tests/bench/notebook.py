"""Cells in a kernel of their own, as a notebook runs them: run as a script, it leaves no event loop in the tests."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["outputs_of"]

BEGUN = "begun"  # a cell that prints it is interrupted
SECONDS = 8.0  # after that


def outputs_of(cells: Sequence[str], folder: Path) -> list[list[dict[str, Any]]]:
    """Runs cells in one kernel, in a folder, and returns what each put out: messages with their kind."""
    command = [sys.executable, "-W", "ignore", __file__]
    ended = subprocess.run(command, input=json.dumps(cells), cwd=folder, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def main() -> None:
    """Reads cells as JSON, and writes what they put out."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(startup_timeout=120)
    every = []
    for cell in json.load(sys.stdin):
        outputs: list[dict[str, Any]] = []

        def hear(message: dict[str, Any], outputs: list[dict[str, Any]] = outputs) -> None:
            outputs.append({"kind": message["msg_type"], **json.loads(json.dumps(message["content"], default=str))})
            if BEGUN in outputs[-1].get("text", ""):
                threading.Timer(SECONDS, manager.interrupt_kernel).start()

        reply = client.execute_interactive(cell, output_hook=hear, timeout=240)
        if reply["content"]["status"] != "ok":
            sys.exit(f"{cell}\n{reply['content']}")
        every.append(outputs)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    json.dump(every, sys.stdout)


if __name__ == "__main__":
    main()
