"""What a site shows its own people, a file an idea; `showing.py` is the door to all of it. Nothing is changed here.

opened.py    the site's home, opened to look; who is there
waiting.py   what waits for a person
overview.py  how it stands
jobs.py      its part in each job
left.py      what left it
over.py      its tables and their budgets
policies.py  its policy, and what another would have said
logbook.py   its entries in the log, receipts, alarms, sign-offs
ages.py      keys, certificates, people
"""
