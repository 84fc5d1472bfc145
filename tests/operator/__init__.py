"""The hub's operator against everybody else: whoever holds its database, its keys and its code changes what happened.

Each manipulation is played in a world of the real hub and four real sites (`tests/world.py`), which then goes on.
Afterwards its export is made by the hub, verified offline with a member's own charter, replayed, and compared with the
newest checkpoint that each member holds. A manipulation is found if a site said so, or the verifier, in the words that
it names; two are controls, in which nobody may say anything.

    stages.py      worlds to begin from, copied from one that ran once
    hand.py        what an operator can lay hands on
    findings.py    who says what afterwards
    of_history.py, of_members.py, of_jobs.py, of_keys.py, of_new_log.py     the manipulations
"""
