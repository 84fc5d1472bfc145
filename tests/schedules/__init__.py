"""A fast world for the protocol under faults: no SQL, no broker, no HPKE; see README.md.

events.py    what can happen, and a schedule of it drawn from a seed
parties.py   a hub and sites with a durable store, around the real protocol states
network.py   letters in flight, clocks, and the loop that plays a schedule
lies.py      what a hub or a member may say instead of the truth
judge.py     what must hold afterwards
planted.py   bugs, each of which must be found
runner.py    many schedules, and the printout
"""
