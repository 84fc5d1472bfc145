"""Protocols as values: pure state machines, both halves of one in one file.

base.py        the shape: states that accept one message; Ask and Done
key_setup.py   pair secrets, once per job
masks.py       how the secrets of one sum are derived, shared and opened
secure_sum.py  the total over those who stayed
"""
