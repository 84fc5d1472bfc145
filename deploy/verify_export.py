"""A second opinion on an export of the log, for auditors who want none of Hansa's code: one file, Python's standard
library and `cryptography`, no installation.

    python verify_export.py EXPORT [CHARTER]       exit code 0: holds, 1: not final or not whole, 2: something is false

It looks at less than `hansa audit verify`: the chain of charters (and that CHARTER, the reader's own, is in it), the
head's signature and cosignatures, that the entries give its root and begin with every earlier head, that every entry is
signed by its author's key, and that no author's numbers have a gap; where members began a new log, that it begins with
all that they had cosigned of the one before. It does not read jobs, payloads or evidence.
Charters of format 1 (Hansa 0.1) have no log key, and are not read.
"""

import base64
import hashlib
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa


class Wrong(Exception):
    """Something in the export is false."""


def need(holds, sentence):
    if not holds:
        raise Wrong(sentence)


def holds(kind, public, message, signature):
    try:
        kind.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def unpack(data):
    """MessagePack of null, booleans, integers, text, bytes, arrays and maps: what charters and entries are made of."""
    value, at = _value(data, 0, 0)
    need(at == len(data), "bytes stand after a value")
    return value


_SIMPLE = {0xC0: None, 0xC2: False, 0xC3: True}
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def _value(data, at, depth):
    need(depth < 16 and at < len(data), "a value is cut off, or nested too deep")
    mark, at = data[at], at + 1
    if mark < 0x80 or mark >= 0xE0:
        return (mark if mark < 0x80 else mark - 256), at
    if mark in _SIMPLE:
        return _SIMPLE[mark], at
    if 0xCC <= mark <= 0xD3:
        size = 1 << (mark - 0xCC & 3)
        need(at + size <= len(data), "a number is cut off")
        return int.from_bytes(data[at : at + size], "big", signed=mark >= 0xD0), at + size
    return _sized(data, mark, at, depth)


def _sized(data, mark, at, depth):
    if mark < 0xC0:  # the length stands in the mark
        length = mark & (31 if mark >= 0xA0 else 15)
    else:
        need(mark in _LENGTHS, "a value is of a type that stands in no charter and no entry")
        length, at = int.from_bytes(data[at : at + _LENGTHS[mark]], "big"), at + _LENGTHS[mark]
    if 0x90 <= mark < 0xA0 or mark in (0xDC, 0xDD):
        return _array(data, at, length, depth)
    if mark < 0x90 or mark >= 0xDE:
        return _map(data, at, length, depth)
    return _bytes(data, at, length, mark < 0xC0 or mark >= 0xD9)


def _bytes(data, at, length, text):
    need(at + length <= len(data), "a text is cut off")
    found = data[at : at + length]
    return (found.decode("utf-8") if text else found), at + length


def _array(data, at, count, depth):
    found = []
    for _ in range(count):
        value, at = _value(data, at, depth + 1)
        found.append(value)
    return found, at


def _map(data, at, count, depth):
    found = {}
    for _ in range(count):
        key, at = _value(data, at, depth + 1)
        need(isinstance(key, str) and key not in found, "a map's key is no text, or stands twice")
        found[key], at = _value(data, at, depth + 1)
    return found, at


# ---- charters ----


class Charter:
    """Format 2, by position: platform/hansa/charter.py declares it."""

    def __init__(self, raw):
        form, self.consortium, self.version, self.previous, self.origin, hub, members, rules = unpack(raw)
        need(form == 2, "a charter is not of format 2")
        self.digest = hashlib.sha256(b"hansa/v1/charter\0" + len(raw).to_bytes(8, "big") + raw).digest()
        self.hub, self.log, self.agreed = hub[1], hub[3], [self.consortium, hub, members, rules]
        self.base, self.began = log_of(self.origin)
        self.members = {one[0]: {"consent": one[4], "lasting": one[5], "keys": one[6:8]} for one in members}
        corrupt, sites = rules[1], len(members)
        corrupt = (sites - 1) // 3 if corrupt < 0 else min(corrupt, sites - 1)
        self.threshold, self.quorum = (sites + corrupt) // 2 + 1, rules[3] or sites
        need(sites >= 3 and len(self.members) == sites, "a charter names fewer than three members, or one twice")
        need(self.threshold <= self.quorum <= sites, "a charter's quorum lets two histories be final")

    def key(self, author):
        return self.hub if author == "hub" else self.members.get(author, {}).get("consent")


def log_of(origin):
    """(the first log's name, the version that began this one)"""
    later = re.fullmatch("(.+)/v([1-9][0-9]{0,9})", origin)
    return (later[1], int(later[2])) if later else (origin, 1)


def signers(raw, signatories, roster):
    message = b"hansa/v1/charter\0" + raw
    found = set()
    for site, plain, lattice in signatories:
        member = roster.members.get(site)
        plainly = member and holds(ed25519.Ed25519PublicKey, member["consent"], message, plain)
        if plainly and holds(mldsa.MLDSA65PublicKey, member["lasting"], message, lattice):
            found.add(site)
    return len(found)


def read_charters(folder):
    chain = []
    for version in range(1, 1 + len(list((folder / "charters").iterdir()))):
        raw, signatories = unpack((folder / "charters" / str(version)).read_bytes())
        charter = Charter(raw)
        due = len(charter.members) if version == 1 else charter.threshold
        need(charter.version == version, f"charters/{version} holds another version")
        need(charter.began <= version, f"version {version} of the charter names a log that a later one is to begin")
        need(signers(raw, signatories, charter) >= due, f"version {version} of the charter lacks signatures")
        if chain:
            need(charter.previous == chain[-1].digest, f"version {version} does not follow from the one before")
            enough = signers(raw, signatories, chain[-1]) >= chain[-1].threshold
            need(enough, f"version {version} lacks signatures of members of the one before")
            check_log(charter, chain[-1])
        chain.append(charter)
    return chain


def check_log(charter, before):
    """It goes on, or a new one begins that is named after the version, which changes nothing else."""
    if charter.origin != before.origin:
        begins = charter.origin == f"{before.base}/v{charter.version}"
        need(begins, f"version {charter.version} names another log, and not one that it begins")
        same = charter.agreed == before.agreed
        need(same, f"version {charter.version} begins a new log, and changes something else too")


# ---- tree and notes ----


def root(row):
    if not row:
        return hashlib.sha256(b"").digest()
    while len(row) > 1:
        odd = [row[-1]] if len(row) % 2 else []
        pairs = zip(row[:-1:2], row[1::2], strict=False)
        row = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs] + odd
    return row[0]


def read_entries(folder, size):
    entries = []
    for number in range(-(-size // 256)):
        width = min(256, size - 256 * number)
        groups = [f"x{number // 1000**at % 1000:03d}" for at in range(2, 0, -1) if number >= 1000**at]
        path = (
            folder / "tile" / "entries" / Path(*groups, f"{number % 1000:03d}" + (f".p/{width}" if width < 256 else ""))
        )
        data, at, found = path.read_bytes(), 0, 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : at + 2 + length])
            at, found = at + 2 + length, found + 1
        need(at == len(data) and found == width, f"{path} does not hold {width} entries")
    return entries


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def read_note(path, charters, whole=None):
    """(size, root, who cosigned with both keys) of a checkpoint that a log key of these charters signed."""
    text, _, rest = (path.read_text(encoding="utf-8") if whole is None else whole).rpartition("\n\n")
    text += "\n"
    origin, size, head = text[:-1].split("\n")
    size, head = int(size), base64.b64decode(head, validate=True)
    lines = [line.split(" ") for line in rest[:-1].split("\n")]
    signed = [(one[1], base64.b64decode(one[2], validate=True)) for one in lines]
    by_log, cosigned = False, set()
    need(charters[0].origin == origin, f"{path} is of another log")
    for charter in charters:
        for name, blob in signed:
            if name == origin and blob[:4] == key_id(name, 1, charter.log):
                by_log |= holds(ed25519.Ed25519PublicKey, charter.log, text.encode(), blob[4:])
        for site, member in charter.members.items():
            if site in charters[0].members and _cosigned(f"{origin}/{site}", member["keys"], signed, text, size, head):
                cosigned.add(site)
    need(by_log, f"{path} is not signed by the log")
    return size, head, cosigned


def _cosigned(name, keys, signed, text, size, head):
    plain, lattice = keys
    made = set()
    for who, blob in signed:
        stamp, signature = blob[4:12], blob[12:]
        if who == name and blob[:4] == key_id(name, 4, plain):
            message = f"cosignature/v1\ntime {int.from_bytes(stamp, 'big')}\n{text}".encode()
            need(holds(ed25519.Ed25519PublicKey, plain, message, signature), f"a cosignature of {name} is false")
            made.add(4)
        if who == name and blob[:4] == key_id(name, 6, lattice):
            origin = text.split("\n")[0].encode()
            message = b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + stamp + bytes([len(origin)]) + origin
            message += bytes(8) + size.to_bytes(8, "big") + head
            need(holds(mldsa.MLDSA44PublicKey, lattice, message, signature), f"a cosignature of {name} is false")
            made.add(6)
    return made == {4, 6}


# ---- the whole ----


def adoptions(entries, chain):
    """(place, charter) of each version that the log adopted."""
    found = []
    for place, data in enumerate(entries):
        _, by, _, _, act, _, details, _ = unpack(unpack(data)[0])
        if by == "hub" and act == "charter adopted":
            version = int(details["version"])
            need(1 <= version <= len(chain), f"entry {place} adopts a charter that is not in the export")
            need(details["charter"] == chain[version - 1].digest.hex(), f"entry {place} adopts another charter")
            need(not found or version == found[-1][1].version + 1, f"entry {place} adopts a charter out of turn")
            found.append((place, chain[version - 1]))
    need(found, "the log adopts no charter")
    return found


def in_force(adopted, place):
    return next((charter for start, charter in reversed(adopted) if start <= place), adopted[0][1])


def with_former(chain, charter):
    return [charter, *chain[max(0, charter.version - 2) : charter.version - 1]]


def check_entries(entries, chain, adopted):
    due, given_up = {}, {}
    for place, data in enumerate(entries):
        raw, signature = unpack(data)
        origin, by, sequence, *_ = unpack(raw)
        charters = with_former(chain, in_force(adopted, place))
        need(origin == charters[0].origin, f"entry {place} is of another log")
        need(sequence == due.get(by, 0), f"entry {place}: '{by}' has number {sequence} where {due.get(by, 0)} is due")
        due[by] = sequence + 1
        keys = [charter.key(by) for charter in charters]
        need(keys[0], f"entry {place}: '{by}' is not on the charter in force")
        message = b"hansa/v1/log entry\0" + raw
        made = [key for key in keys if key and holds(ed25519.Ed25519PublicKey, key, message, signature)]
        need(made, f"entry {place}: the signature of '{by}' does not hold")
        need(made[0] not in given_up.get(by, ()), f"entry {place}: '{by}' signed with a key that it had given up")
        if made[0] == keys[0]:
            given_up.setdefault(by, set()).update(key for key in keys[1:] if key != keys[0])


def opened(entries):
    """The details of the first entry."""
    return unpack(unpack(entries[0])[0])[6]


def check_before(folder, entries, chain, adopted):
    """What the first entry says of a log before, and what members say that they had cosigned; False where a part of it
    is lost. `folder` is that of the newest log."""
    details, first = opened(entries), adopted[0][1]
    if first.began == 1:
        need("former log" not in details, "entry 0 names a log before, and no version of the charter begins a new one")
        return True
    before = chain[first.began - 2]
    need(details.get("former log") == before.origin, "entry 0 does not name the log that went before")
    held, leaves = int(details["former size"]), []
    if held:
        leaves = read_entries(folder / "former" / str(before.began), held)
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in leaves]
    need(root(leaves).hex() == details["former root"], "entry 0 commits to other entries of the log before")
    size, head = 0, ""
    if "witnessed" in details:
        versions = [one for one in reversed(chain[: first.began - 1]) if one.origin == before.origin]
        size, head, _ = read_note("the checkpoint in entry 0", versions, details["witnessed"])
        need(size > held or root(leaves[:size]) == head, "the log before is not the one of its own checkpoint")
        head = head.hex()
    heard = set(details["heard"].replace(",", " ").split()) & set(before.members)
    need(len(heard) >= before.threshold, f"{len(heard)} members were asked how far they had cosigned the log before")
    for place, data in enumerate(entries):
        _, by, _, _, act, _, said, _ = unpack(unpack(data)[0])
        if act == "log continued" and said["log"] == before.origin:
            check_member(place, by, said, by in heard, (size, head), leaves)
    if size > held:
        print(f"LOST: entries {held} to {size - 1} of {before.origin}: members had cosigned {size}")
    return size <= held


def check_member(place, by, said, heard, witnessed, leaves):
    cosigned = int(said["size"])
    most = f"'{by}' had cosigned {cosigned} entries of the log before, and entry 0 commits to {witnessed[0]}"
    need(cosigned <= witnessed[0] or not heard, f"entry {place}: {most}")
    same = cosigned != witnessed[0] or not cosigned or said["root"] == witnessed[1]
    need(same, f"entry {place}: '{by}' had cosigned another log before of {cosigned} entries")
    begins = cosigned > len(leaves) or root(leaves[:cosigned]).hex() == said["root"]
    need(begins, f"entry {place}: the log before does not begin with what '{by}' had cosigned")


def verify(folder, own, whole=None):
    """`whole`: the folder of the newest log, where this one is over."""
    chain = read_charters(folder)
    size = int((folder / "checkpoint").read_text(encoding="utf-8").split("\n")[1])
    entries = read_entries(folder, size)
    adopted = adoptions(entries, chain)
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    heads = [folder / "checkpoint", *sorted((folder / "checkpoints").glob("*"))]
    for path in heads:
        count = int(path.read_text(encoding="utf-8").split("\n")[1])
        charters = with_former(chain, in_force(adopted, count - 1))
        count, head, cosigned = read_note(path, charters)
        need(count <= size, f"{path} covers {count} entries, and the export ends after {size}")
        need(root(leaves[:count]) == head, f"the first {count} entries are not those of {path}")
        if path == heads[0]:
            final, who = len(cosigned) >= charters[0].quorum, cosigned
    check_entries(entries, chain, adopted)
    is_whole = check_before(whole or folder, entries, chain, adopted)
    newest = in_force(adopted, size - 1)
    if own is not None:
        mine = Charter(unpack(own.read_bytes())[0]).digest
        need(mine in [one.digest for one in chain], "your charter is not in the chain")
    names = ", ".join(sorted(who)) or "nobody"
    print(f"log {newest.origin} of '{newest.consortium}': {size} entries, cosigned by {names}")
    print(f"charter version {newest.version}, digest {newest.digest.hex()}")
    if own is None and whole is None:
        print("THE CHARTER CAME WITH THE EXPORT: compare its digest with that of your own")
    return final and is_whole


def verify_all(folder, own):
    """The newest log, then those that are over."""
    good = verify(folder, own)
    for former in sorted((folder / "former").glob("*"), key=lambda path: int(path.name)):
        if (former / "checkpoint").exists():
            good = verify(former, None, folder) and good
    return good


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python verify_export.py EXPORT [CHARTER]")
    try:
        is_good = verify_all(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
    except (Wrong, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        print(f"FALSE: {error}")  # a file that is malformed, or missing, is as false as one that lies
        sys.exit(2)
    print(
        "Everything that this script looks at holds." if is_good else "Nothing is false, but not all is final and here."
    )
    sys.exit(0 if is_good else 1)
