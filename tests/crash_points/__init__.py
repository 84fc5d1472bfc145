"""Every durable write of a job is numbered; a party is killed before and after each, and the job is finished.

    points.py   the numbering: commits, files of chunks, pushes to brokers, by role; and the crash itself
    world.py    `tests.world.World` in which a party dies at the point that is armed and is built anew
    databases.py where the parties' databases lie: SQLite, or PostgreSQL for everybody
    __main__.py every point, one job each; `make crash-points`

A crash is an exception that no handler of the product catches, after which the party's objects are dropped: these
roles keep in memory nothing that matters, so that is what SIGKILL leaves. `tests/test_crash_points.py` runs a stride of
them, and kills some real processes at their n-th commit too.
"""
