"""What a policy would have said: of a question that nobody has asked yet, and of those that were."""

from pathlib import Path

from sqlalchemy.orm import Session

from hansa.charter import Charter
from hansa.mail.database import open_engine
from hansa.plan import Plan, Question, make
from hansa_site import pending, tables
from hansa_site.settings import Settings


def plan_for(settings: Settings, charter: Charter, home: Path, question: Question, proposer: str = "") -> Plan:
    """The plan that `question` would be, with every named site (all members, if none is) having the table as it is
    here."""
    schema = tables.schema(settings.source(question.table), home)
    sites = question.sites or tuple(member.id for member in charter.members)
    asker = proposer or question.proposer or settings.name
    return make(question, charter, "0" * 32, asker, dict.fromkeys(sites, schema))


def past(settings: Settings, charter: Charter) -> list[Plan]:
    engine = open_engine(settings.database, reading=True)
    with Session(engine) as db:
        found = pending.past(db, charter)
    engine.dispose()
    return found
