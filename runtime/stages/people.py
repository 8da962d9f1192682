"""Who may sign a stage off: another person than those who operated the robot, under an account of their own."""

from __future__ import annotations

import pwd
from collections.abc import Set
from dataclasses import dataclass

ROOT = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A user of this machine, by the kernel's word (see `runtime.link.peers`)."""

    uid: int
    name: str

    @classmethod
    def of(cls, uid: int) -> Person:
        """Looks the name up, which may wait for a directory service."""
        try:
            return cls(uid, pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(uid, f"user {uid}")


def objections(by: str, signer: Person, operators: Set[Person], single_person: bool) -> list[str]:
    """What speaks against this sign-off. `by`: the name given with it; `operators`: who operated in this run."""
    if not by.strip() or not by.isprintable() or len(by) > 64:
        return [f"found the name {by!r:.80}, expected one of 1 to 64 printable characters; sign with your own"]
    if single_person:
        return []
    reasons = []
    if by != signer.name:
        reasons.append(
            f"found the name {by}, but the account that signs is {signer.name}; sign under an account of your "
            "own, with its name"
        )
    if signer.uid == ROOT:
        reasons.append("root cannot sign, because nobody can tell who that is; sign under an account of your own")
    if not operators:
        reasons.append(
            "nobody has operated the robot since this stage or the daemon began, expected one person to operate "
            "it and another to sign; at the stage sensors `reflexctl preflight` will do"
        )
    for person in sorted(operators, key=lambda person: person.uid):
        if person.uid == signer.uid:
            reasons.append(
                f"{person.name} has operated the robot in this run, expected another person to sign; where only "
                "one person uses the machine, set safety.stages.single_person = true"
            )
        elif person.uid == ROOT:
            reasons.append(
                "root has operated the robot in this run, and nobody can tell who that was; restart the daemon, "
                "and operate under accounts of your own (socket.group)"
            )
    return reasons
