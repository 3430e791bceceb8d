"""`python -m outrider.cli`, the same as `outrider`."""

from outrider.cli.main import main

main(prog_name="outrider")
