"""`python -m tinygen`: the command line, where its script is not on the path."""

from tinygen.cli import main

main()
