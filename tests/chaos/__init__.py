"""Real processes, real brokers, a real database, and kill -9 for as many times as one likes; `make chaos`.

    consortium.py  the hub, a further worker of it, four sites, their servers; and whoever dies is started again
    faults.py      what happens to them, drawn from a seed
    asking.py      jobs whose answers are known beforehand, proposed all the time and checked when they end
    watching.py    whether everybody consumes again after a broker came back empty
    counting.py    what all databases hold in the end: lost, doubled
    __main__.py    the run, and the one line that it prints

Faults stop, and then everything must drain. Nothing here reaches into a process: it signals them, fills their disks,
sets their clocks, and reads what they wrote.
"""
