"""How many sites a job needs, and how many of them know what: from exact tails, not from rules of thumb.

Up to 50 sites everybody is everybody's neighbour and sits on the committee, and no chance is involved. Above, a beacon
drawn after the corruption picks the committee, and above 200 the neighbours as well. A pick without
replacement holds hypergeometrically many of the corrupt and of the dropped, so the smallest committee and degree are
found for which

    a committee holds `threshold` or more corrupt, or two survivor sets can both be locked     at most 2^-40
    any site has `kept − HONEST` or more corrupt neighbours (union over the sites)             at most 2^-40
    fewer than `threshold` of the committee stay, or fewer than `kept` of a site's neighbours  at most 2^-20

where a tenth of the sites drops out. The sums are of integers and exact. Bounds after Bell et al. (CCS 2020, sections
4 and 5) and the committee of decryptors of Ma et al. (S&P 2023). Our own judgement: a survivor must keep `kept`
neighbours, and in a sparse graph two thirds of the sites must survive, so that a hub which picks the dropped after it
saw the graph finds no part of the survivors that is tied to the rest by corrupt sites alone.
"""

from functools import lru_cache
from math import comb

from msgspec import Struct

from hansa.errors import NotEnoughSites, Refused

ALL_ON_COMMITTEE = 50  # up to so many sites the committee is everybody
ALL_NEIGHBOURS = 200  # up to so many the graph is complete
MAX_SITES = 2_000
NEARLY_ALL = 0.9  # of the others as neighbours: then all of them
HONEST = 5  # a survivor keeps more honest neighbours than this
PRIVACY_BITS, LIVENESS_BITS = 40, 20
DROPPED_SHARE = 10  # one site in so many may vanish in a round


class Floors(Struct, frozen=True, array_like=True):
    """The `secure-sum` table's row for one roster."""

    corrupt: int  # how many may collude with the hub
    threshold: int  # shares that open a secret, and signatures that lock a survivor set
    survivors: int  # the smallest survivor set
    committee: int  # how many hold shares and lock
    degree: int  # neighbours of a site, before anybody drops out
    kept: int  # neighbours that each survivor must keep (κ)

    @staticmethod
    def of(sites: int, corrupt: int, minimum: int) -> "Floors":
        """Refuses rosters for which no floor can be met. Who counts `corrupt` of more sites than these, because some
        have left before, says so in numbers (`tolerated_of`)."""
        if sites > MAX_SITES:
            raise Refused(f"a job takes at most {MAX_SITES} sites; {sites} are named")
        tolerated = tolerated_of(sites, corrupt)
        if sites <= ALL_ON_COMMITTEE:
            committee, threshold = sites, (sites + tolerated) // 2 + 1
        else:
            committee, threshold = committee_of(sites, min(tolerated, sites))
        survivors = max(threshold, 3, tolerated + 2, minimum)
        if survivors > sites:
            raise NotEnoughSites(
                f"{sites} sites take part, and {survivors} are needed "
                f"(at least {minimum} by rule, with {tolerated} that might collude)"
            )
        if sites > ALL_NEIGHBOURS:
            degree, kept = degree_of(sites, tolerated)
            if degree < NEARLY_ALL * (sites - 1):
                return Floors(tolerated, threshold, max(survivors, -(-2 * sites // 3)), committee, degree, kept)
        return Floors(tolerated, threshold, survivors, committee, sites - 1, survivors - 1)

    @property
    def honest(self) -> int:
        """How many survivors add noise that nobody else knows: neither the corrupt, nor one who reads the answer and
        can take its own share away (with three sites nobody is corrupt, and each still reads)."""
        return self.survivors - max(self.corrupt, 1)

    def borne(self, sites: int) -> int:
        """How many of `sites` may drop out of a sum. Where a beacon picks a committee, a tenth (but for 2^-20)."""
        most = sites - self.survivors
        return most if self.committee == sites else min(most, sites // DROPPED_SHARE)


def tolerated_of(sites: int, corrupt: int) -> int:
    """How many of `sites` may collude: −1 stands for ⌊(n−1)/3⌋. A job counts those that its plan names: were it those
    that are left, a hub could leave honest ones out until its own are more than the share."""
    return max(sites - 1, 0) // 3 if corrupt < 0 else corrupt


@lru_cache(maxsize=64)
def committee_of(sites: int, corrupt: int) -> tuple[int, int]:
    """(size, threshold) of the smallest committee out of `sites` of which `corrupt` are."""
    for size in range(3, sites + 1):
        bad = worst(sites, corrupt, size, PRIVACY_BITS)
        absent = worst(sites, sites // DROPPED_SHARE, size, LIVENESS_BITS)
        threshold = (size + bad) // 2 + 1
        if size - absent >= threshold:
            return size, threshold
    raise NotEnoughSites(f"no committee of {sites} sites withstands {corrupt} that might collude")


@lru_cache(maxsize=64)
def degree_of(sites: int, corrupt: int) -> tuple[int, int]:
    """(degree, kept): the smallest degree for which every site is safe, and no site lonely."""
    for degree in range(HONEST + 1, sites):
        kept = worst(sites - 1, corrupt, degree, PRIVACY_BITS, sites) + 1 + HONEST
        absent = worst(sites - 1, sites // DROPPED_SHARE, degree, LIVENESS_BITS, sites)
        if degree * sites % 2 == 0 and degree - absent >= kept:
            return degree, kept
    raise NotEnoughSites(f"no graph of {sites} sites withstands {corrupt} that might collude")


def worst(population: int, marked: int, drawn: int, bits: int, times: int = 1) -> int:
    """The smallest x with `times` · P[more than x of the `drawn` are marked] ≤ 2^-`bits`; drawn without replacement."""
    limit, tail = comb(population, drawn), 0
    for count in range(min(marked, drawn), -1, -1):
        tail += comb(marked, count) * comb(population - marked, drawn - count)
        if (tail * times) << bits > limit:
            return count
    return 0
