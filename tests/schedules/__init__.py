"""A fast world for the protocol under faults: no SQL, no broker, no HPKE; see README.md.

events.py    what can happen, and a schedule of it drawn from a seed
as_if.py     small sessions with the floors, committee and graph of large ones
boxes.py     what a party keeps, and the letters it takes and writes
parties.py   a hub and sites with a durable store, around the real protocol states
network.py   letters in flight, clocks, and the loop that plays a schedule
telling.py   the shape of a lie
lies.py      what a hub or a member may say instead of the truth: lies_in_setup, lies_in_sums, lies_of_members
evidence.py  what the judge knows
judge.py     what must hold afterwards: rules_of_setup, rules_of_sites, rules_of_totals
planting.py  the shape of a planted bug
planted.py   bugs, each of which must be found: planted_in_setup, planted_in_sums, planted_in_opening, planted_in_stores
runner.py    many schedules, and the printout
"""
