"""Protocols as values: pure state machines, both halves of one in one file.

base.py        the shape: states that accept one message; Ask and Done
thresholds.py  how many sites a job needs, from exact tails
graph.py       who is whose neighbour, and who sits on the committee
key_setup.py   pair secrets, once per job
masks.py       how the secrets of one sum are derived, shared and opened, and its vectors masked and added
survivors.py   who is in a sum: what is signed and checked of that
secure_sum.py  the total over those who stayed
release.py     who is in an answer agrees that its recipients have it
"""
