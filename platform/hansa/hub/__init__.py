"""The coordinator's side. Trusted for liveness, never for privacy or truth.

settings.py     hub.toml, keys, charter
kits.py         a hub's home, its brokers' files, what a new site receives; drafts.py the charter on its way
models.py       the tables
app.py          the processes: Celery workers, gateways, poster, ticker
gateway.py      what comes in from the sites' mailboxes, and the chunks that are wanted
coordinator.py  from letter to letter
rounds.py       rounds of a job: open, close, and what follows
records.py      the timelines
log.py          the log: entries and their tree; log_check.py makes it anew, log_status.py says how it stands
checkpoints.py  what members cosign, and the receipts they get
new_log.py      how a log begins, the first one or one after a part was lost
exports.py      the log as a folder; retention.py what is erased, and when
evidence.py     what is kept so that totals can be recomputed
overlap.py      what becomes of jobs and letters when the charter changes
people.py       who may sign in; attempts.py slows guessing down, second_factor.py codes, page.py what is set of it
actions.py      what a person may do; accounts.py people and their sessions
estimating.py   what a question would cost
queries.py      what a person may see; looking.py lists of jobs, job_detail.py one of them, pace.py how it gets on
consortium.py   members, charter and budgets; tables.py the tables
reviewing.py    what an auditor reads of the log, in pages (log_pages.py)
verifying.py    the log held to itself, exported, made into documents; comparing.py copies that somebody brings
operating.py    what the hub's operator sees
"""
