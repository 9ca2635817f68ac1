"""`python -m maskvd_cli` is `maskvd`."""

from maskvd_cli.app import main

main()
