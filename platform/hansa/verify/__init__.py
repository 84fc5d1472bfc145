"""The offline verifier: what an auditor runs who trusts nobody's log, and this package least.

It shares no code with what writes the log: hashes, notes, encodings and charters are declared here anew, from the
formats (RFC 6962, C2SP, `ARCHITECTURE.md`). It reads nothing itself: an export is two functions, `Source`. Whatever
the bytes, it ends with a `Verdict`, or with one of our errors where there is nothing to judge.

    verdict.py      the whole: everything below, in one verdict
    charters.py     the chain of charters                      policies.py     the witness policy
    notes.py        signed notes, checkpoints, cosignatures    checkpoints.py  whether they hold, and when
    tree.py         hashes and proofs                          tiles.py        entries and hashes as files
    entries.py      what an entry is                           authors.py      who may sign it, and in what order
    jobs.py         a job, from its proposal to its end        payloads.py     what commitments open to
    compare.py      two copies of one log                      forks.py        evidence that a hub told two stories
    shown.py        entries, for a person to read
    former.py       a log that went before, and was lost       lost.py         what a member's copy still shows of it
"""
