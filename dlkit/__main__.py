"""`python -m dlkit` is the `dlkit` command."""

from dlkit.bench.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
