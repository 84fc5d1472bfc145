"""What a hub asks that no site does: requests, survivor sets, receipts and signatures that don't hold.

The attacks that `secure-sum` numbers are in `test_refusals.py`.
"""

from collections.abc import Callable
from functools import lru_cache

import pytest
from msgspec.structs import replace

from hansa.crypto import merkle
from hansa.crypto.keys import SigningKey
from hansa.errors import ProtocolViolation
from hansa.protocols.key_setup import Session
from hansa.protocols.secure_sum import Contribute, Shares, Summed, Unmask
from hansa.protocols.survivors import Receipt
from tests.protocol_runs import Hooks, Parties, agreed, close, lock_requests, names, others, plain, refuses, silent

FOUR = names(4)
ReceiptLie = Callable[[Receipt], Receipt]


# What is asked of a contribution


@pytest.mark.parametrize(
    ("cohort", "words"),
    [
        (("a", "b"), "below the floor"),
        (("b", "c", "d"), "leaves out"),
        (("a", "b", "b", "c"), "sorted part"),
        (("b", "a", "c"), "sorted part"),
        (("a", "b", "c", "z"), "sorted part"),
    ],
)
def test_a_cohort_below_the_floor_or_not_of_the_roster_is_refused(cohort: tuple[str, ...], words: str) -> None:
    parties, session = agreed(4)
    refuses(parties, "a", replace(parties.begin(session).requests["a"], cohort=cohort), words)


def test_a_cohort_that_brings_back_a_site_that_left_is_refused() -> None:
    parties, session = agreed(4)
    summed = parties.total(session, hooks=Hooks(silent(Contribute, "d")))
    refuses(parties, "a", parties.begin(session, 1, summed.receipt, FOUR).requests["a"], "left")


@pytest.mark.parametrize(
    "receipt",
    [
        None,
        lambda real: replace(real, sid=bytes(32)),
        lambda real: replace(real, headers=bytes(32)),
        lambda real: replace(real, survivors=real.survivors[1:]),
        lambda real: replace(real, survivors=real.survivors[::-1]),
        lambda real: replace(real, chunks=real.chunks * 2),
        lambda real: replace(real, chunks=()),
    ],
)
def test_a_receipt_of_another_sum_is_refused(receipt: ReceiptLie | None) -> None:
    parties, session = agreed(4)
    summed = parties.total(session)
    shown = receipt(summed.receipt) if receipt else None
    for site in FOUR:
        refuses(parties, site, Contribute(1, 0, b"", FOUR, shown), "receipt")


@pytest.mark.parametrize("count", [4, 60])
def test_a_first_sum_has_no_receipt(count: int) -> None:
    parties, session = agreed(count)
    receipt = Receipt(bytes(32), parties.sites, bytes(32), {}, (bytes(32),))
    for site in parties.sites[:4]:
        refuses(parties, site, replace(parties.begin(session).requests[site], receipt=receipt), "receipt")


@pytest.mark.parametrize("count", [4, 60])
def test_a_hub_that_shows_two_totals_of_one_sum_gets_no_next_one(count: int) -> None:
    parties, session = agreed(count)
    summed = parties.total(session)
    ask = parties.begin(session, 1, summed.receipt)
    lie, fooled = replace(summed.receipt, chunks=(merkle.leaf(bytes(24)),)), parties.sites[: count // 2]
    replies = parties.ask(
        ask, Hooks(request=lambda site, asked: replace(asked, receipt=lie) if site in fooled else asked)
    )
    with pytest.raises(ProtocolViolation, match="another sum"):
        close(ask, replies)
    requests = lock_requests(session, parties.sites, replies, parties.sites)
    for site in session.committee:
        refuses(parties, site, requests[site], "another sum")


# A total that its receipt does not name


@pytest.mark.parametrize("ring", [64, 32])
def test_a_total_that_is_not_the_receipts_is_refused(ring: int) -> None:
    parties, session = agreed(4, ring=ring)  # type: ignore[arg-type]
    summed = parties.total(session)
    receipt, content = summed.receipt, summed.content
    assert receipt.total(content, summed.length, parties.ring).tolist() == plain(parties.vectors, FOUR)
    flipped = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    for lie in (*flipped, content + bytes(8), content[:-8], content[:-1], b"", content * 2):
        with pytest.raises(ProtocolViolation, match="not the one that its receipt names"):
            receipt.total(lie, summed.length, parties.ring)


# A site off the committee goes by the signatures in the receipt


@lru_cache(maxsize=1)
def _one_sum() -> tuple[Parties, Session, Summed]:
    parties, session = agreed(60)
    gone = [next(iter(session.committee)), parties.sites[-1]]
    return parties, session, parties.total(session, hooks=Hooks(silent(Contribute, *gone)))


def after_one_sum() -> tuple[Parties, Session, Summed, str]:
    """Sixty sites without two after a sum, and the name of one that is not on the committee."""
    parties, session, summed = _one_sum()
    return parties.copy(), session, summed, next(site for site in summed.active if site not in session.committee)


def shown(summed: Summed, receipt: Receipt) -> Contribute:
    return Contribute(1, 0, b"state", tuple(site for site in summed.active if site in receipt.survivors), receipt)


def test_a_site_off_the_committee_goes_on_with_a_receipt_that_holds() -> None:
    parties, session, summed, site = after_one_sum()
    fewest = dict(list(summed.receipt.signatures.items())[: session.floors.threshold])
    twin = parties.copy()
    for receipt in (summed.receipt, replace(summed.receipt, signatures=fewest)):
        twin = parties.copy()
        assert twin.deliver(site, shown(summed, receipt)).header.site == site
    again = parties.total(session, 1, summed)
    assert again.vector().tolist() == plain(parties.vectors, summed.active)


def test_a_receipt_with_fewer_signatures_than_the_threshold_is_refused_off_the_committee() -> None:
    parties, session, summed, site = after_one_sum()
    for few in (0, 1, session.floors.threshold - 1):
        signatures = dict(list(summed.receipt.signatures.items())[:few])
        refuses(parties, site, shown(summed, replace(summed.receipt, signatures=signatures)), "fewer signatures")


@pytest.mark.parametrize("stranger", ["off the committee", "a member that dropped out", "no site"])
def test_a_receipt_signed_by_who_is_no_member_or_no_survivor_is_refused_off_the_committee(stranger: str) -> None:
    """They sign what is true, and fill up what the members' signatures lack."""
    parties, session, summed, site = after_one_sum()
    receipt = summed.receipt
    name = {
        "off the committee": next(one for one in summed.active if one not in session.committee and one != site),
        "a member that dropped out": next(iter(session.committee)),
        "no site": "hub",
    }[stranger]
    signature = parties.keys.get(name, SigningKey(bytes(32))).sign("sum/lock", receipt.locked())
    for kept in (session.floors.threshold - 1, len(receipt.signatures)):
        signatures = {**dict(list(receipt.signatures.items())[:kept]), name: signature}
        refuses(parties, site, shown(summed, replace(receipt, signatures=signatures)), "did not survive, or is no")


def test_a_receipt_with_one_signature_that_does_not_hold_is_refused_off_the_committee() -> None:
    parties, _, summed, site = after_one_sum()
    receipt = summed.receipt
    first, second = list(receipt.signatures)[:2]
    other = parties.keys[first].sign("sum/header", receipt.locked())
    for forged in (bytes(64), receipt.signatures[second], other):
        lie = replace(receipt, signatures={**receipt.signatures, first: forged})
        refuses(parties, site, shown(summed, lie), "signature")


def test_a_receipt_of_another_survivor_set_is_refused_off_the_committee() -> None:
    parties, session, summed, site = after_one_sum()
    receipt, gone = summed.receipt, parties.sites[-1]
    off = next(one for one in summed.active if one not in session.committee and one != site)
    lies = [
        (replace(receipt, survivors=others(receipt.survivors, off)), "signature"),
        (replace(receipt, survivors=(*receipt.survivors, gone)), "signature"),
        (replace(receipt, headers=bytes(32)), "signature"),
        (replace(receipt, survivors=receipt.survivors[::-1]), "sorted"),
        (replace(receipt, survivors=(*receipt.survivors, "s999")), "sorted part"),
        (replace(receipt, survivors=others(receipt.survivors, site)), "not in"),
        (replace(receipt, survivors=receipt.survivors[: session.floors.survivors - 1]), "below the floor"),
        (replace(receipt, sid=bytes(32)), "receipt"),
        (replace(receipt, chunks=receipt.chunks * 2), "receipt"),
    ]
    for lie, words in lies:
        refuses(parties, site, replace(shown(summed, receipt), receipt=lie), words)
    refuses(parties, site, replace(shown(summed, receipt), receipt=None), "receipt")


def test_members_that_sign_another_survivor_set_are_too_few_to_move_a_site_off_the_committee() -> None:
    """As many members as may be corrupt sign the set without an honest site, for the hub's receipt."""
    parties, session, summed, site = after_one_sum()
    off = next(one for one in summed.active if one not in session.committee and one != site)
    lie = replace(summed.receipt, survivors=others(summed.receipt.survivors, off))
    worst = 2 * session.floors.threshold - session.floors.committee - 1
    signatures = {name: parties.keys[name].sign("sum/lock", lie.locked()) for name in list(lie.signatures)[:worst]}
    refuses(parties, site, shown(summed, replace(lie, signatures=signatures)), "fewer signatures")
    mixed = {**lie.signatures, **signatures}
    refuses(parties, site, shown(summed, replace(lie, signatures=mixed)), "signature")


# What is asked of a member


@pytest.mark.parametrize("count", [4, 60])
def test_a_site_that_locked_one_set_locks_no_second(count: int) -> None:
    parties, session = agreed(count)
    _, replies = parties.contributed(session)
    everybody, member = parties.sites, next(iter(session.committee))
    parties.deliver(member, lock_requests(session, everybody, replies, everybody)[member])
    smaller = others(everybody, next(site for site in everybody[::-1] if site != member))
    refuses(parties, member, lock_requests(session, everybody, replies, smaller)[member], "not a Unmask")


def test_a_site_off_the_committee_locks_nothing() -> None:
    parties, session = agreed(60)
    _, replies = parties.contributed(session)
    requests = lock_requests(session, parties.sites, replies, parties.sites)
    site = next(site for site in parties.sites if site not in session.committee)
    refuses(parties, site, requests[next(iter(session.committee))], "not a Contribute")


@pytest.mark.parametrize("count", [4, 60])
def test_a_survivor_set_below_the_floor_is_not_locked(count: int) -> None:
    parties, session = agreed(count)
    _, replies = parties.contributed(session)
    few = parties.sites[: session.floors.survivors - 1]
    member = next(site for site in few if site in session.committee)
    refuses(parties, member, lock_requests(session, parties.sites, replies, few)[member], "below the floor")


def test_a_survivor_that_was_not_asked_is_refused() -> None:
    parties, session = agreed(5)
    cohort = parties.sites[:4]
    twin = parties.copy()
    _, foreign = twin.contributed(session)
    replies = parties.ask(parties.begin(session, cohort=cohort))
    lie = lock_requests(session, cohort, replies, cohort)["a"]
    refuses(parties, "a", replace(lie, headers=(*lie.headers, foreign["e"].header)), "part of the cohort")


def test_a_lock_that_shows_a_site_another_header_of_its_own_is_refused() -> None:
    parties, session = agreed(4)
    _, replies = parties.contributed(session)
    another = replace(replies["a"], header=parties.signed(replies["a"].header, root=bytes(32)))
    lie = lock_requests(session, FOUR, {**replies, "a": another}, FOUR)["a"]
    refuses(parties, "a", lie, "another header of it")
    without = lock_requests(session, FOUR, replies, ("b", "c", "d"))["b"]
    refuses(parties, "a", without, "leave out")


def test_a_header_that_its_site_did_not_sign_is_refused() -> None:
    parties, session = agreed(4)
    ask, replies = parties.contributed(session)
    forged = replace(replies["b"], header=replace(replies["b"].header, root=bytes(32)))
    refuses(parties, "a", lock_requests(session, FOUR, {**replies, "b": forged}, FOUR)["a"], "signature")
    relabelled = replace(replies["b"], header=replace(replies["b"].header, site="c"))
    with pytest.raises(ProtocolViolation):
        close(ask, {**replies, "c": relabelled})


def test_a_sealed_letter_that_was_altered_is_refused() -> None:
    parties, session = agreed(4)
    ask, replies = parties.contributed(session)
    lock = close(ask, replies).requests["a"]
    for place in range(3):
        sealed = bytearray(lock.sealed[place])
        sealed[len(sealed) // 2] ^= 1
        altered = (*lock.sealed[:place], bytes(sealed), *lock.sealed[place + 1 :])
        refuses(parties, "a", replace(lock, sealed=altered), "does not open")
    refuses(parties, "a", replace(lock, sealed=lock.sealed[1:]), "one per other survivor")
    refuses(parties, "a", replace(lock, sealed=lock.sealed[::-1]), "does not open")
    elsewhere = replies["b"].sealed[1]  # from b, to c
    refuses(parties, "a", replace(lock, sealed=(elsewhere, *lock.sealed[1:])), "does not open")


@pytest.mark.parametrize("count", [4, 60])
def test_fewer_signatures_than_the_threshold_unmask_nothing(count: int) -> None:
    parties, session = agreed(count)
    ask = parties.at_unmask(session)
    member, threshold = next(iter(session.committee)), session.floors.threshold
    signatures = ask.requests[member].signatures  # type: ignore[attr-defined]
    for few in range(threshold):
        refuses(parties, member, Unmask(dict(list(signatures.items())[:few])), "fewer signatures")
    assert isinstance(parties.deliver(member, Unmask(dict(list(signatures.items())[:threshold]))), Shares)


def test_signatures_over_another_set_unmask_nothing() -> None:
    parties, session = agreed(4)
    _, replies = parties.contributed(session)
    twin = parties.copy()
    three = lock_requests(session, FOUR, replies, ("a", "b", "c"))
    four = lock_requests(session, FOUR, replies, FOUR)
    smaller = {site: twin.deliver(site, three[site]).signature for site in ("a", "b", "c")}
    for site in FOUR:
        parties.deliver(site, four[site])
    refuses(parties, "a", Unmask(smaller), "signature")


@pytest.mark.parametrize("stranger", ["d", "z", "hub"])
def test_signatures_of_strangers_unmask_nothing(stranger: str) -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session, "d")
    signed = ask.requests["a"].signatures  # type: ignore[attr-defined]
    locked = parties.states["a"].before.locked  # type: ignore[attr-defined]
    key = parties.keys.get(stranger, SigningKey(bytes(32)))
    signatures = {**dict(list(signed.items())[:2]), stranger: key.sign("sum/lock", locked)}
    refuses(parties, "a", Unmask(dict(sorted(signatures.items()))), "did not survive")
    forged = {**signed, "c": SigningKey(bytes(32)).sign("sum/lock", locked)}
    refuses(parties, "a", Unmask(forged), "signature")


def test_signatures_of_survivors_off_the_committee_unmask_nothing() -> None:
    parties, session = agreed(60)
    ask = parties.at_unmask(session)
    member, threshold = next(iter(session.committee)), session.floors.threshold
    locked = parties.states[member].before.locked  # type: ignore[attr-defined]
    off = next(site for site in parties.sites if site not in session.committee)
    signed = list(ask.requests[member].signatures.items())[: threshold - 1]  # type: ignore[attr-defined]
    signatures = {**dict(signed), off: parties.keys[off].sign("sum/lock", locked)}
    refuses(parties, member, Unmask(signatures), "is no member")


def test_a_site_releases_its_shares_once() -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session)
    parties.deliver("a", ask.requests["a"])
    refuses(parties, "a", ask.requests["a"], "not a Contribute")
