"""`python -m hansa.cli`, the same as `hansa`: how the launcher starts its processes."""

from hansa.cli import main

main()
