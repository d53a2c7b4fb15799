"""The paper as a run of notebooks: `python -m workflow --help`."""
