"""What a corrupt site sends: contributions, headers, signatures and shares that are not what they should be."""

import pytest
from msgspec.structs import replace

from hansa.crypto import merkle, shamir
from hansa.crypto.keys import digest, lock_box, open_box
from hansa.errors import ProtocolViolation
from hansa.protocols.masks import seal_key
from hansa.protocols.secure_sum import Contribute, Contributed, Locked, Shares
from tests.protocol_runs import Hooks, Parties, agreed, close, lock_requests, names, others, refuses, silent

FOUR = names(4)
SHARE = shamir.ELEMENT_BYTES


# Contributions


def altered_contribution(reply: Contributed, part: str) -> Contributed:
    if part == "sealed":
        return replace(reply, sealed=(reply.sealed[1], reply.sealed[0], *reply.sealed[2:]))
    if part == "fewer sealed":
        return replace(reply, sealed=reply.sealed[1:])
    if part == "masked":
        return replace(reply, chunks=(merkle.leaf(bytes(24)),))
    if part == "shorter":
        return replace(reply, chunks=())
    if part == "longer":
        return replace(reply, chunks=reply.chunks * 2)
    if part == "fewer tags":
        return replace(reply, header=replace(reply.header, tags=reply.header.tags[:-1]))
    tags = reply.header.tags
    return replace(reply, header=replace(reply.header, tags=tags[16:] + tags[:16]))


@pytest.mark.parametrize("count", [4, 60])
@pytest.mark.parametrize("part", ["sealed", "fewer sealed", "masked", "shorter", "longer", "fewer tags", "tags"])
def test_a_contribution_that_is_not_the_signed_one_is_found_by_the_hub(part: str, count: int) -> None:
    parties, session = agreed(count)
    ask, replies = parties.contributed(session)
    with pytest.raises(ProtocolViolation):
        close(ask, {**replies, parties.sites[2]: altered_contribution(replies[parties.sites[2]], part)})
    assert close(ask, replies).requests


@pytest.mark.parametrize("part", ["shorter", "longer", "fewer sealed", "more sealed", "fewer tags", "more tags"])
def test_a_contribution_of_another_size_is_found_by_the_hub_even_if_it_is_signed(part: str) -> None:
    parties, session = agreed(4)
    ask, replies = parties.contributed(session)
    c = replies["c"]
    chunks = {"shorter": (), "longer": c.chunks * 2}.get(part, c.chunks)
    sealed = {"fewer sealed": c.sealed[1:], "more sealed": (*c.sealed, c.sealed[0])}.get(part, c.sealed)
    tags = {"fewer tags": c.header.tags[16:], "more tags": c.header.tags + bytes(16)}.get(part, c.header.tags)
    letters = digest("sum/sealed", *sealed)
    header = parties.signed(c.header, root=merkle.root(chunks), sealed=letters, tags=tags)
    with pytest.raises(ProtocolViolation):
        close(ask, {**replies, "c": Contributed(header, chunks, sealed)})


def test_a_header_of_another_sum_is_refused() -> None:
    parties, session = agreed(4)
    ask, first = parties.contributed(session)
    summed = parties.run(close(ask, first))
    ask = parties.begin(session, 1, summed.receipt)
    replies = parties.ask(ask)
    old = {**replies, "b": replace(replies["b"], header=first["b"].header, chunks=first["b"].chunks)}
    with pytest.raises(ProtocolViolation, match="not those it signed"):
        close(ask, old)
    old["b"] = replace(first["b"], chunks=replies["b"].chunks)
    with pytest.raises(ProtocolViolation, match="not the one it signed"):
        close(ask, old)
    with pytest.raises(ProtocolViolation, match="another sum"):
        close(ask, {**replies, "b": first["b"]})
    refuses(parties, "a", lock_requests(session, FOUR, old, FOUR)["a"], "another sum")


def test_tags_that_differ_at_the_two_ends_of_any_one_edge_are_found_by_every_member() -> None:
    parties, session = agreed(5)
    _, replies = parties.contributed(session)
    tags = replies["d"].header.tags
    for place in range(4):
        lie = tags[: 16 * place] + bytes(16) + tags[16 * (place + 1) :]
        header = parties.signed(replies["d"].header, tags=lie)
        requests = lock_requests(
            session, parties.sites, {**replies, "d": replace(replies["d"], header=header)}, "abcde"
        )
        for site in "abce":  # also those who are not at this edge
            refuses(parties, site, requests[site], "two tags")


@pytest.mark.parametrize("size", [0, 1, 31, 33, 32 * 3, 32 * 5])
def test_a_sealed_letter_with_another_number_of_shares_is_refused(size: int) -> None:
    """Corrupt `b` seals to `a` what opens, but is not one share a secret."""
    parties, session = agreed(4)
    _, replies = parties.contributed(session)
    sid, pair = replies["b"].header.sid, parties.states["b"].paired.pairs["a"]  # type: ignore[attr-defined]
    sealed = (lock_box(seal_key(pair, sid, "b", "a"), bytes(size), sid), *replies["b"].sealed[1:])
    header = parties.signed(replies["b"].header, sealed=digest("sum/sealed", *sealed))
    lie = {**replies, "b": Contributed(header, replies["b"].chunks, sealed)}
    refuses(parties, "a", lock_requests(session, FOUR, lie, FOUR)["a"], "another number of secrets")


# Locks


@pytest.mark.parametrize("count", [4, 60])
def test_a_signature_for_locking_that_does_not_hold_is_found_by_the_hub(count: int) -> None:
    parties, session = agreed(count)
    ask = parties.at_lock(session)
    replies = parties.ask(ask)
    one, two = list(replies)[:2]
    with pytest.raises(ProtocolViolation, match="signature"):
        close(ask, {**replies, one: Locked(replies[two].signature)})


# Shares


def with_share(shares: Shares, place: int, share: bytes) -> Shares:
    """`place` counts the shares of own masks first, then those of edges."""
    joined = shares.own + shares.edges
    joined = joined[: place * SHARE] + share + joined[(place + 1) * SHARE :]
    return Shares(joined[: len(shares.own)], joined[len(shares.own) :])


def wrong(shares: Shares, place: int) -> Shares:
    joined = shares.own + shares.edges
    value = int.from_bytes(joined[place * SHARE : (place + 1) * SHARE], "little")
    return with_share(shares, place, shamir.encode((value + 1) % shamir.PRIME))


@pytest.mark.parametrize("size", [0, 31, 33, 32 * 3, 32 * 5])
def test_shares_of_another_size_are_refused(size: int) -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session)
    replies = parties.ask(ask)
    for lie in (Shares(bytes(size), b""), Shares(replies["b"].own, bytes(size or 1))):
        with pytest.raises(ProtocolViolation, match="another number of shares"):
            close(ask, {**replies, "b": lie})


def test_another_number_of_shares_than_was_asked_is_refused() -> None:
    parties, session = agreed(5)
    ask = parties.at_unmask(session, "e")
    replies = parties.ask(ask)
    b = replies["b"]
    for lie in (
        replace(b, own=b.own[SHARE:]),
        replace(b, edges=b""),
        replace(b, edges=b.edges[SHARE:]),
        replace(b, edges=b.edges * 2),
        Shares(b.own + b.edges[:SHARE], b.edges[SHARE:]),
        Shares(b.own[:-1], b.own[-1:] + b.edges),
    ):
        with pytest.raises(ProtocolViolation, match="another number of shares"):
            close(ask, {**replies, "b": lie})


@pytest.mark.parametrize("liar", FOUR)
@pytest.mark.parametrize("place", range(4))
def test_a_wrong_share_is_found_when_more_than_the_threshold_reply(liar: str, place: int) -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session)
    replies = parties.ask(ask)
    with pytest.raises(ProtocolViolation, match="different secrets"):
        close(ask, {**replies, liar: wrong(replies[liar], place)})


@pytest.mark.parametrize("place", [0, 58, 59, 59 + 58])
def test_a_wrong_share_of_any_member_of_a_committee_is_found(place: int) -> None:
    """59 survivors: the last of them has its own mask at place 58, the dropped site its 59 edges after that."""
    parties, session = agreed(60)
    gone = next(site for site in parties.sites if site not in session.committee)
    ask = parties.at_unmask(session, gone)
    replies = parties.ask(ask)
    assert len(replies) == len(session.committee)
    for liar in session.committee:
        with pytest.raises(ProtocolViolation, match="different secrets"):
            close(ask, {**replies, liar: wrong(replies[liar], place)})


@pytest.mark.parametrize("place", range(3, 6))
def test_a_wrong_share_of_a_dropped_edge_is_found_by_its_tag_even_at_the_threshold(place: int) -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session, "d")
    replies = parties.ask(ask)
    assert len(replies) == session.floors.threshold
    with pytest.raises(ProtocolViolation, match="than its tag names"):
        close(ask, {**replies, "b": with_share(replies["b"], place, shamir.encode(5))})


@pytest.mark.parametrize("place", range(3))
def test_a_wrong_share_of_an_own_mask_is_found_by_its_commitment_even_at_the_threshold(place: int) -> None:
    parties, session = agreed(4)
    ask = parties.at_unmask(session, "d")
    replies = parties.ask(ask)
    assert len(replies) == session.floors.threshold
    with pytest.raises(ProtocolViolation, match="than it committed to"):
        close(ask, {**replies, "b": with_share(replies["b"], place, shamir.encode(5))})


@pytest.mark.parametrize("secret", [0, 1], ids=["own mask", "edge to the dropped"])
def test_a_site_that_shared_another_secret_than_it_used_is_found_when_it_is_opened(secret: int) -> None:
    """Corrupt `b` swaps two sites' sealed shares of itself for consistent shares of something else."""
    parties, session = agreed(4)
    ask, replies = parties.contributed(session, Hooks(silent(Contribute, "a")))
    sid, pairs = replies["b"].header.sid, parties.states["b"].paired.pairs  # type: ignore[attr-defined]
    threshold = session.floors.threshold
    false = shamir.split(7, threshold, 4, [11] * (threshold - 1))
    kept = parties.states["b"].kept  # type: ignore[attr-defined]
    letters = []
    for member in others(FOUR, "b"):
        share = shamir.encode(false[session.committee[member] - 1])
        true = SHARE * 3 * b"\0" if member == "a" else opened(parties, sid, member, replies)
        shares = [true[at : at + SHARE] for at in range(0, len(kept), SHARE)]
        shares[secret] = share
        letters.append(lock_box(seal_key(pairs[member], sid, "b", member), b"".join(shares), sid))
    own = [kept[at : at + SHARE] for at in range(0, len(kept), SHARE)]
    own[secret] = shamir.encode(false[session.committee["b"] - 1])
    header = parties.signed(replies["b"].header, sealed=digest("sum/sealed", *letters))
    parties.states["b"] = replace(parties.states["b"], header=header, kept=b"".join(own))
    lie = {**replies, "b": Contributed(header, replies["b"].chunks, tuple(letters))}
    with pytest.raises(ProtocolViolation, match="than its tag names" if secret else "than it committed to"):
        parties.run(close(ask, lie))


def opened(parties: Parties, sid: bytes, member: str, replies: dict[str, Contributed]) -> bytes:
    """What `b` sealed to `member`."""
    place = others(FOUR, "b").index(member)
    pair = parties.states["b"].paired.pairs[member]  # type: ignore[attr-defined]
    return open_box(seal_key(pair, sid, "b", member), replies["b"].sealed[place], sid)
