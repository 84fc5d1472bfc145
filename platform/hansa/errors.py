"""Three errors, each with an owner. Everything else is a bug of ours and stays a Python error.

| error             | whose fault        | what follows                                                  |
|-------------------|--------------------|---------------------------------------------------------------|
| ProtocolViolation | the peer's         | the message changes nothing; it is kept aside with its reason |
| Refused           | a rule's, by design| the job or the request ends; the sentence is shown to people  |
| NotEnoughSites    | nobody's           | the job ends; it may be asked again                           |

A message is one sentence that says what and where. It never holds a value from a table, a key or a share.
"""


class ProtocolViolation(Exception):
    """A peer sent what the protocol does not allow at this point."""


class Refused(Exception):
    """A rule of ours, of a site or of the charter says no."""


class NotEnoughSites(Exception):
    """Fewer sites answered than the quorum asks for."""
