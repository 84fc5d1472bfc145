"""What runs inside an institution, next to its data.

    settings.py   site.toml: mailbox, database, tables, policy
    vault.py      the site's keys, and the charter
    joining.py    from new keys to a signed charter
    tables.py     CSV, Parquet and SQL tables: their schema, and columns of their rows
    consent.py    what the institution agrees to
    policy_file.py  the policy as it is written, and how another takes its place
    differing.py  what nobody may subtract: totals over nearly the same sites, answers that tell more together
    releasing.py  the last look at an answer; figures.py shows a steward the exact ones
    journal.py    what this site was asked and what it said, for ever: its own database
    deeds.py      what it enters in the hub's log; reviewing.py a sign-off
    leaving.py    what left it, a row each
    witness.py    the hub's log, cosigned; log_state.py how it looks from here
    showing.py doing.py  the doors of its command line and its console; shown/ is behind the first
    site.py       from letter to answer
    app.py        the process: a Celery worker, the worker of waiting letters, the poster

Nothing here imports hansa.hub: a site trusts a hub for liveness only.
"""
