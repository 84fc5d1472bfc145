"""Bytes and numbers only: no parties, no rounds, no input or output. Chance is an argument.

keys.py         sign, seal, agree, derive; every use under a label
bundles.py      all the keys of one party, from one string of seeds
prg.py          mask streams of AES-256-CTR
shamir.py       shares over 2^255 − 19
merkle.py       RFC 6962 hashing
fixed_point.py  real numbers in Z_2^64 or Z_2^32
"""
