"""What earlier versions left: their databases, keys and letters, for today's version to open.

`python -m tests.recorded FILE` records with the version that is installed: three sites answer a question, and are
killed in the middle of a second one. The file is a ZIP of their homes.
"""
