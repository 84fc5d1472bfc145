"""Documents made from a log that was held to itself: what the law and auditors ask for, as text and as data.

They say what the log says and nothing that it can't know; what a person must add stands there as such. Pure: the export
is read through `hansa.verify`, files are written by the command.

    told.py     what a log tells: its members, tables and jobs        record.py  record of processing (GDPR, 30)
    impact.py   data-protection impact pack of one job                crate.py   Five Safes RO-Crate of one job
    measures.py what protects and what does not: the words that all of them share
"""
