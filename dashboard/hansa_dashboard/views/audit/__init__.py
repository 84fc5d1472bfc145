"""The parts of the page of the log, one of them at a time.

entries.py       the log in pages, under filters, and one entry with its receipt
said.py          what an act means, in words
timeline.py      one job: who signed what, and when
sign_offs.py     up to where each member has read
verification.py  the tree made anew, and the verifier's verdict
comparison.py    copies that somebody brings, held to each other and to this hub's log
downloads.py     the export, and the record of processing activities
"""
