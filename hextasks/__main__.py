"""`python -m hextasks`, the same as the command `hextasks`."""

from entrypoints.cli import main

if __name__ == "__main__":
    main()
