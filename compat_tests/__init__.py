"""Other projects' test suites, run unmodified on this one: see README.rst."""
