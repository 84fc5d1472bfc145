"""A charter on its way to everybody's signature, as the hub's operator handles it."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from hansa import charter as charters
from hansa.charter import Charter
from hansa.errors import Refused
from hansa.files import write_private
from hansa.hub import kits
from hansa.hub.settings import read_settings
from hansa.mail.founding import Request, complete, read_draft


def draft(home: Path, consortium: str, requests: Sequence[Request], rules: dict[str, object], origin: str) -> bytes:
    """The first version, which nobody has signed; refuses a member that has no mailbox yet."""
    mailboxes = read_settings(home).mailboxes
    cards = [request.card for request in requests]
    without = sorted(card.id for card in cards if card.id not in mailboxes)
    if without:
        raise Refused(f"{', '.join(without)} has no mailbox at this hub: `hansa site kit` makes it")
    return charters.draft(consortium, kits.card(home), cards, charters.rules_from(rules), origin).encoded


def finish(home: Path, drafted: bytes, signatures: Sequence[bytes]) -> tuple[Charter, bytes]:
    """Keeps the charter with everybody's signature; gives it, to be sent to everybody."""
    charter, path = read_draft(drafted), home / "charter"
    if charter.hub != kits.card(home):
        raise Refused("the draft is of another hub")
    signed = complete(charter, signatures)
    if path.exists() and charters.load(path.read_bytes()) != charter:
        raise Refused(f"{home} holds another charter, and this version of Hansa knows no later versions of one")
    write_private(path, signed)
    return charter, signed


def read_rules(path: Path | None) -> dict[str, object]:
    """The `[rules]` of a TOML file, as a consortium file has them."""
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"there is no file {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not a TOML file: {error}") from error
    rules = found.get("rules", {})
    if not isinstance(rules, dict) or set(found) - {"rules"}:
        raise Refused(f"{path} holds something else than a table [rules]")
    return rules
