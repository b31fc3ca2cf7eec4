"""`python -m audit_lab` is `audit-lab`."""

from audit_lab.cli import main

main()
