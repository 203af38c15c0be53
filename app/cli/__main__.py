"""`python -m app.cli` is the `boltlink` command, also where the package is not installed."""

from app.cli import main

if __name__ == "__main__":
    main()
