"""Institutions that may not show one another their data compute together.

errors.py     three errors, each with an owner
messages.py   ids, deterministic encoding, the envelope of a letter
charter.py    members, keys, rules
plan.py       a question, as exact bytes
crypto/       bytes and numbers only: no parties, no rounds
privacy/      what noise costs and how it is drawn
protocols/    pure state machines, both halves of a protocol in one file
jobs/         what may be asked, one file a kind
audit/        the log of acts
mail/         outbox, inbox, broker: letters that are neither lost nor doubled
simulator.py  any job in one process
replay.py     a job's totals and its answer again, from its evidence; evidence_file.py that as a file
verify/       an export of the log held to itself, offline, with no code that wrote it
documents/    what the law and auditors ask for, from such an export
export_folder.py an export as a folder; export_zip.py as an archive that somebody uploads
hub/          the coordinator's side
files.py      files that only their user may read, and settings as TOML
cli/          the command `hansa`, where the program is put together
"""

__version__ = "0.2.0"
