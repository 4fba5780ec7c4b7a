"""`python -m lensbench` is `bench`."""

from lensbench.cli import main

main()
