"""`python -m smsd` is the `smsd` command."""

from smsd.cli import main

main()
