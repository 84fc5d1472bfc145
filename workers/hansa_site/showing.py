"""What a site shows its own people: the console's door to looking. Every answer is a plain value, and nothing changes.

Who may see what is asked of `hansa.access` by whoever shows it; `doing.py` is the door to acts, and asks by itself.
"""

from hansa.mail.checks import Finding
from hansa_site.consent import Opinion
from hansa_site.pending import Pending
from hansa_site.shown.ages import CertificateView, KeyView, PersonKey, certificates_of, key, keys_of_people
from hansa_site.shown.jobs import WAITS, JobDetail, JobView, Said, job, jobs
from hansa_site.shown.left import Leaf, LeftOfJob, Sort, by_job, left, letters, since, uncounted
from hansa_site.shown.logbook import (
    AlarmView,
    EntryView,
    Head,
    ReviewView,
    alarms,
    counts,
    entries,
    entries_of,
    head,
    receipt,
    reviews,
)
from hansa_site.shown.opened import OpenedSite, PersonView, everybody, person
from hansa_site.shown.over import BudgetView, Line, TableView, budgets, tables
from hansa_site.shown.overview import Overview, findings, overview
from hansa_site.shown.policies import Change, PolicyView, Tried, changes, policy, tried, wrong_with
from hansa_site.shown.waiting import Marks, marks, waiting

__all__ = [
    "WAITS",
    "AlarmView",
    "BudgetView",
    "CertificateView",
    "Change",
    "EntryView",
    "Finding",
    "Head",
    "JobDetail",
    "JobView",
    "KeyView",
    "Leaf",
    "LeftOfJob",
    "Line",
    "Marks",
    "OpenedSite",
    "Opinion",
    "Overview",
    "Pending",
    "PersonKey",
    "PersonView",
    "PolicyView",
    "ReviewView",
    "Said",
    "Sort",
    "TableView",
    "Tried",
    "alarms",
    "budgets",
    "by_job",
    "certificates_of",
    "changes",
    "counts",
    "entries",
    "entries_of",
    "everybody",
    "findings",
    "head",
    "job",
    "jobs",
    "key",
    "keys_of_people",
    "left",
    "letters",
    "marks",
    "overview",
    "person",
    "policy",
    "receipt",
    "reviews",
    "since",
    "tables",
    "tried",
    "uncounted",
    "waiting",
    "wrong_with",
]
