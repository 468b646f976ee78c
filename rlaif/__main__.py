"""`python -m rlaif`: the same as the `rlaif` command."""

from rlaif.cli import main

if __name__ == "__main__":
    main()
