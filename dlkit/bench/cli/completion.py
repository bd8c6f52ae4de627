"""Completion of the command in shells."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlkit.bench.errors import UserError

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["register"]

SHELLS = "bash, zsh, fish or powershell"


def register(app: "App") -> None:
    """Adds ``--install-completion`` to a command line."""

    @app.command(name="--install-completion")
    def install_completion(
        *, shell: Literal["bash", "zsh", "fish", "powershell"] | None = None, output: Path | None = None
    ) -> int:
        """Install completion of the dlkit command for your shell.

        Args:
            shell: bash, zsh, fish or powershell; by default the one that runs this.
            output: a file for the script; then no start-up file is changed. By default the shell's own place.
        """
        from cyclopts.completion.detect import ShellDetectionError, detect_shell

        try:
            chosen = shell or detect_shell()
            path = app.install_completion(shell=chosen, output=output, add_to_startup=output is None)
        except ShellDetectionError:
            raise UserError(f"which shell this is cannot be told; name it: --shell {SHELLS}") from None
        except OSError as error:
            raise UserError(
                f"{output or error.filename}: the completion cannot be written: {error.strerror}; name a file of yours "
                "with --output, and source it in your shell's start-up file"
            ) from None
        print(f"completion of {chosen}: {path}")  # noqa: T201
        print("it works in shells that start from now on" if output is None else f"try it: source {path}")  # noqa: T201
        return 0
