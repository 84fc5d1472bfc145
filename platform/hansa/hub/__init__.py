"""The coordinator's side. Trusted for liveness, never for privacy or truth.

settings.py     hub.toml, keys, charter
kits.py         a hub's home, its brokers' files, what a new site receives; drafts.py the charter on its way
models.py       the tables
app.py          the processes: Celery workers, gateways, poster, ticker
gateway.py      what comes in from the sites' mailboxes, and the chunks that are wanted
coordinator.py  from letter to letter
rounds.py       rounds of a job: open, close, and what follows
records.py      the log and the timelines
evidence.py     what is kept so that totals can be recomputed
people.py       who may sign in
actions.py      what a person may do
queries.py      what a person may see
"""
