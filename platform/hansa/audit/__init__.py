"""The log of acts. Pure: rows come and go as arguments.

log.py  entries linked by digest
"""
