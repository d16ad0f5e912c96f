"""`python -m guard` is the command `cornerguard`."""

from guard.cli import main

main()
