"""The log of acts. Pure: rows come and go as arguments.

log.py         entries: who did what, signed by who did it
former.py      the log of Hansa 0.1, read only
roster.py      who signs and cosigns, as the charter says
tree.py        a growing Merkle tree; proofs of inclusion and consistency
note.py        signed notes and their keys (C2SP)
checkpoint.py  what a log says of its tree, and who cosigned it
policy.py      which logs and witnesses are believed, and how many of them it takes
proof.py       a receipt: what shows offline that an entry is in the log
witnessing.py  what a witness says to a checkpoint
tiles.py       the log as files
"""
