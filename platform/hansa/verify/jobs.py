"""A job, from its proposal to its end, as the log tells it.

The hub's acts stand in their order. A member's entries may come minutes later, so they are held to what they answer
(which stands before them) and to their author's own sequence. What a member should have signed and is not there is
`missing` as long as that member may not have delivered it, and `failed` once younger entries of its are in the log.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from hansa.verify.charters import HUB, Charter
from hansa.verify.entries import about, names
from hansa.verify.findings import Findings
from hansa.verify.payloads import Plan

CLOCKS_DIFFER = 86_400_000  # milliseconds: what a member dates so much later than the hub's act is younger
_AFTER_THE_END = {"answer read", "letter set aside", "heard", "ended"}
_STEPS = ("contributed", "locked", "unmasked")


class Act(Struct, frozen=True):
    """An entry of a job, whoever signed it; what was `heard` of a site without keys of its own is that site's act."""

    place: int
    by: str
    sequence: int
    milliseconds: int
    act: str
    details: Mapping[str, str]


class Recomputed(Struct, frozen=True):
    """What a job's evidence gives when it is replayed."""

    charter: str  # its digest, as the plan's and the answer's
    plan: str
    totals: tuple[tuple[tuple[str, ...], str, str], ...]  # of each step: its survivors, digest of the total, locked
    answer: str


class Story:
    """One job. Every method looks at one thing; `told` at all of them."""

    def __init__(
        self,
        run: str,
        acts: Sequence[Act],
        charter: Charter,
        plan: Plan | None,
        clocks: Mapping[str, int],
        linked: bool,
        findings: Findings,
    ) -> None:
        """`clocks`: the latest time of each author in the whole log. `linked`: another log went before this one."""
        self.run, self.acts, self.charter, self.plan = run, acts, charter, plan
        self._clocks, self._linked, self._findings = clocks, linked, findings

    def told(self) -> None:
        asked = self._of("proposal asked")
        if not asked:
            say = self._findings.note if self._linked else self._findings.failed
            if any(act.act not in _AFTER_THE_END for act in self.acts):
                say(self._where(self.acts[0]), "acts of a job that nobody proposed in this log")
            return
        if len(asked) > 1:
            self._fail(asked[1], "the job is proposed a second time")
        self._check_plan(asked[0])
        self._check_consents(asked[0])
        self._check_setups()
        self._check_steps()
        self._check_members()
        self._check_release()
        self._check_end()

    def _of(self, act: str) -> list[Act]:
        return [one for one in self.acts if one.act == act]

    def _where(self, act: Act) -> str:
        return f"entry {act.place}, job {self.run[:8]}"

    def _fail(self, act: Act, sentence: str) -> None:
        self._findings.failed(self._where(act), sentence)

    def _lack(self, member: str, after: Act, sentence: str) -> None:
        """A member's entry is not there: an omission if its younger ones are."""
        younger = self._clocks.get(member, 0) > after.milliseconds + CLOCKS_DIFFER
        younger = younger or any(one.by == member and one.act == "release seen" for one in self.acts)
        if younger:
            self._fail(after, f"{sentence}, although younger entries of '{about(member)}' are in the log")
        else:
            self._findings.missing(self._where(after), sentence)

    # ---- before the first step ----

    def _check_plan(self, asked: Act) -> None:
        due = asked.details["plan"]
        for act in self.acts:
            if act.details.get("plan", due) != due:
                self._fail(act, f"'{act.by}' did '{act.act}' for another plan than was proposed")
        signed = self._of("proposal signed")
        for act in signed:
            if act.by != asked.details["member"]:
                self._fail(act, f"'{act.by}' signed a proposal of '{about(asked.details['member'])}'")
            if act.place < asked.place:
                self._fail(act, "a proposal is signed before it was asked")
        if len(signed) > 1:
            self._fail(signed[1], "the proposal is signed a second time")
        if not signed and (later := self._of("consent asked")):
            who = asked.details["member"]
            self._lack(who, later[0], f"consent is asked, and '{about(who)}' did not sign the proposal")

    def _check_consents(self, asked: Act) -> None:
        calls, seen = self._of("consent asked"), set()
        invited = {site for call in calls for site in names(call.details["sites"])}
        if self.plan is not None and not invited <= set(self.plan.sites):
            self._fail(calls[0], "consent is asked of sites that the plan does not name")
        for act in self._of("consent given"):
            if act.by in seen:
                self._fail(act, f"'{act.by}' consents a second time: a consent is used once")
            elif act.by not in invited or act.place < calls[0].place or act.place < asked.place:
                self._fail(act, f"'{act.by}' consents before it was asked, or without being asked")
            seen.add(act.by)

    def _check_setups(self) -> None:
        consenting = {act.by for act in self._of("consent given")}
        for act in self._of("setup complete"):
            sites = names(act.details["sites"])
            if self.plan is not None and not set(sites) <= set(self.plan.sites):
                self._fail(act, "keys are agreed with sites that the plan does not name")
            for site in sites:
                if site not in consenting:
                    self._lack(site, act, f"keys are agreed with '{about(site)}', which did not consent")

    # ---- steps ----

    def _check_steps(self) -> None:
        """Survivors, total, survivors, total: of one setup after the other, counted from 0."""
        left: set[str] | None = None
        step, open_step = 0, False
        for act in self.acts:
            if act.act == "setup complete":
                left, step, open_step = set(names(act.details["sites"])), 0, False
            elif act.act in ("survivors locked", "total opened"):
                if left is None:
                    self._fail(act, f"'{act.act}' stands before the sites agreed on keys")
                elif act.details["step"] != str(step) or open_step != (act.act == "total opened"):
                    self._fail(act, f"'{act.act}' of step {about(act.details['step'])} stands in another place")
                elif act.act == "survivors locked":
                    left, open_step = self._survivors(act, left), True
                else:
                    step, open_step = step + 1, False
        if open_step and self._of("released"):
            self._fail(self._of("released")[0], f"an answer is released, and the total of step {step} was not opened")

    def _survivors(self, act: Act, left: set[str]) -> set[str]:
        sites = names(act.details["sites"])
        floor = self.plan.minimum_sites if self.plan is not None else self.charter.rules.minimum_sites
        if not set(sites) <= left or list(sites) != sorted(set(sites)):
            self._fail(act, "the survivors are not a sorted part of the sites that were left")
        if len(sites) < floor:
            self._fail(act, f"{len(sites)} sites survive; at least {floor} must")
        return set(sites)

    def _check_members(self) -> None:
        """What members signed of the steps fits what they consented to, and what the hub opened."""
        consents = {act.by: act.sequence for act in self._of("consent given")}
        agreed = {site for act in self._of("setup complete") for site in names(act.details["sites"])}
        setups = len(self._of("setup complete"))
        for act in self.acts:
            if act.act not in _STEPS:
                continue
            if act.by not in agreed:
                self._fail(act, f"'{act.by}' did '{act.act}', and no keys were agreed with it")
            elif act.by in consents and consents[act.by] > act.sequence:
                self._fail(act, f"'{act.by}' did '{act.act}' before it consented")
            elif act.by not in consents:
                self._fail(act, f"'{act.by}' did '{act.act}', and its consent is not in the log")
        if setups == 1:
            self._check_locks()

    def _check_locks(self) -> None:
        survivors = {act.details["step"]: names(act.details["sites"]) for act in self._of("survivors locked")}
        for total in self._of("total opened"):
            step = total.details["step"]
            locks = [act for act in self._of("locked") if act.details["step"] == step]
            for lock in locks:
                if lock.details["survivors"] != total.details["locked"]:
                    whose = f"'{lock.by}' locked another survivor set in step {about(step)}"
                    self._fail(lock, f"{whose} than the one whose total was opened")
                elif lock.by not in survivors.get(step, (lock.by,)):
                    self._fail(lock, f"'{lock.by}' locked step {about(step)} and did not survive it")
            if not locks and self.charter.format > 1:
                self._findings.missing(self._where(total), f"no member's lock of step {about(step)} is in the log")

    # ---- the answer ----

    def _check_release(self) -> None:
        released, seen = self._of("released"), self._of("release seen")
        if not released:
            for act in seen:
                self._fail(act, f"'{act.by}' saw an answer that the log does not release")
            return
        for again in released[1:]:
            self._fail(again, "an answer is released a second time")
        first = released[0]
        for act in seen:
            if act.details["answer"] != first.details["answer"]:
                self._fail(act, f"'{act.by}' was shown another answer than the log releases: a fork")
            elif act.place < first.place:
                self._fail(act, f"'{act.by}' saw the answer before it was released")
        self._check_agreed(first)
        self._check_sites_of(first)

    def _check_agreed(self, released: Act) -> None:
        """Who agreed to a release agreed to this one, was in the answer, and had taken part."""
        for act in self._of("release agreed"):
            if act.details["answer"] != released.details["answer"]:
                self._fail(act, f"'{act.by}' agreed to the release of another answer than the log releases")
            elif act.by not in names(released.details["sites"]):
                self._fail(act, f"'{act.by}' agreed to a release, and its numbers are not in the answer")

    def _check_sites_of(self, released: Act) -> None:
        sites, totals = names(released.details["sites"]), self._of("total opened")
        locked = [act for act in self._of("survivors locked") if act.place < released.place]
        if not totals or totals[0].place > released.place or not locked:
            self._fail(released, "an answer is released without a total")
        elif names(locked[-1].details["sites"]) != sites:
            self._fail(released, "the answer is said to be of other sites than survived")
        consenting = {act.by for act in self._of("consent given")}
        for site in sites:
            if site not in consenting:
                self._lack(site, released, f"'{about(site)}' is in the answer, and its consent is not in the log")

    def _check_end(self) -> None:
        ended, released = self._of("ended"), self._of("released")
        for act in ended[1:]:
            self._fail(act, "the job ends a second time")
        if not ended:
            if released:
                self._findings.missing(self._where(released[0]), "an answer is released, and the job does not end")
            return
        if ended[0].details["status"] == "done" and not released:
            self._fail(ended[0], "the job is done, and its answer is not in the log")
        if ended[0].details["status"] != "done" and released:
            self._fail(ended[0], f"an answer is released, and the job ends as '{about(ended[0].details['status'])}'")
        for act in self.acts:
            if act.place > ended[0].place and act.by == HUB and act.act not in _AFTER_THE_END:
                self._fail(act, f"'{act.act}' stands after the job's end")

    # ---- evidence ----

    def compare(self, found: Recomputed, where: str) -> None:
        """What was recomputed from the evidence is what the log says."""
        asked, totals, locked = self._of("proposal asked"), self._of("total opened"), self._of("survivors locked")
        steps = len(found.totals)
        if not asked or asked[0].details["plan"] != found.plan:
            self._findings.failed(where, "the evidence is of another plan than was proposed")
        if min(len(totals), len(locked)) < steps:
            self._findings.failed(where, f"the evidence has {steps} steps; the log opens {len(totals)} totals")
            return
        if found.charter != self.charter.digest.hex():
            self._findings.failed(where, "the evidence is of another charter than the one in force")
        for step, (survivors, total, locks) in enumerate(found.totals):
            opened = totals[step - steps].details
            if survivors != names(locked[step - steps].details["sites"]) or locks != opened["locked"]:
                self._findings.failed(where, f"the survivors of step {step} are not those in the log")
            if total != opened["total"]:
                self._findings.failed(where, f"the total of step {step} is not the one in the log")
        answers = [act.details["answer"] for act in self._of("released")]
        if answers != [found.answer]:
            self._findings.failed(where, "the evidence gives another answer than the log releases")
