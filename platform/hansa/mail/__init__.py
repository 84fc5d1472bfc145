"""How letters are stored, sent again, and received once, on both sides.

    database.py  an engine with the settings that make a commit mean something
    boxes.py     outbox, inbox and what was set aside: tables and the few statements on them
    letters.py   what a letter may say, by kind
    blobs.py     large vectors as chunks: a folder, and a mailbox's two ends
    carriage.py  how chunks get from one folder into the other
    post.py      the way out: Celery to a site, a raw list to the hub
    tls.py       a broker's address, and what it takes to reach it
    valkey.py    the embedded broker; rules.py its access rules; server_files.py any server's configuration
    founding.py  what people carry by hand before there are letters; certificates.py the brokers' ports

The broker is a doorbell: everything here is right when it loses, repeats, reorders or invents.
"""
