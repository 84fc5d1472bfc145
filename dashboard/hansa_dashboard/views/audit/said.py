"""What an act means, in words: what comes after "the member …" or "the hub …"."""

from collections.abc import Mapping

SAYS: Mapping[str, str] = {
    "answer read": "showed the answer to a person, for the first time",
    "budget given back": "gave back what a job had set aside of a privacy budget and not spent",
    "budget reserved": "set a part of a privacy budget aside for a job",
    "budget spent": "spent a part of a privacy budget: a total carries its noise",
    "cancelled": "ended the job, as a person of its proposer asked",
    "charter accepted": "accepted a version of the charter",
    "charter adopted": "works under this version of the charter from here on",
    "consent asked": "asked the participants for their consent",
    "consent given": "consented to the plan",
    "contributed": "gave its masked numbers to a step",
    "decision refused": "did not believe a decision of one of its people",
    "ended": "ended the job",
    "figures seen": "showed exact figures to one of its people before the release",
    "heard": "heard this from a site that signs no entries of its own (Hansa 0.1)",
    "letter set aside": "put a letter aside that it did not believe",
    "locked": "signed who is in the total",
    "log continued": "said what it had written and cosigned in the log before",
    "log opened": "opened this log",
    "log reviewed": "signed off the log: somebody there has read it so far",
    "person added": "gave a person roles at its site",
    "person removed": "took a person's roles at its site away",
    "policy changed": "changed the policy by which its site answers",
    "proposal asked": "was given a question by a person, and asked the person's member to sign it",
    "proposal signed": "put its name to the question",
    "refused": "refused",
    "release agreed": "computed the answer too, and agreed to its release",
    "release seen": "was told of the answer",
    "released": "released the answer to its recipients",
    "setup complete": "closed the agreement on keys",
    "signed in": "let a person sign in at this page",
    "site seen": "heard a site say hello",
    "survivors locked": "closed the list of those who are in a total",
    "table added": "told of a table",
    "table closed": "closed a table to every question",
    "table withdrawn": "has a table no more",
    "total opened": "opened a total",
    "unmasked": "opened its shares of the masks of a total",
}


def says(act: str) -> str:
    return SAYS.get(act, act)
