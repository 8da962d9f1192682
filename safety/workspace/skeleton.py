"""The part of a robot's model that matters for where it is: a chain of bodies and joints, without the rest.

Meshes, sensors and whatever lies around the robot cost time in every tick and change nothing. So the skeleton is a
new model, written as MJCF: the bodies that carry something watched and those before them, the robot's joints, and
the capsules, of which exactly the compared pairs may touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import dist, hypot
from typing import Any
from xml.etree import ElementTree

import mujoco

from drivers.joint import Joint
from safety.errors import WorkspaceError
from safety.workspace.options import Capsule, WorkspaceOptions

TOOL = "tool"

_HINGE, _SLIDE = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)


class Skeleton:
    """What is taken from a model; `xml` is the rest of it. Raises WorkspaceError with all that is not there."""

    def __init__(self, model: Any, options: WorkspaceOptions, joints: Sequence[Joint], reach: float) -> None:
        """`model`: a MuJoCo model. `reach`: capsules are compared when they are closer than this, m."""
        self._model = model
        problems: list[str] = []
        self.joints = {
            number: i for i, joint in enumerate(joints) if (number := self._joint(joint, problems)) >= 0
        }
        """The robot's joint (place in its order) by the model's."""
        self._tool = self._point(options.tool, problems) if options.tool is not None else None
        self.carriers = [self._body(capsule.body, problems) for capsule in options.capsule]
        """The model's body of each capsule."""
        ignored = [tuple(self._body(name, problems) for name in pair) for pair in options.ignore]
        if problems:
            raise WorkspaceError(problems)
        self.pairs = self._compared(ignored)
        """Capsules that are compared, by number."""
        self.xml = self._write(options.capsule, reach)
        self.reach = self._reaches(options.capsule, joints)
        """How far 1 rad (m for a sliding joint: 1 m) of each joint moves a watched point at most, m."""

    def _joint(self, joint: Joint, problems: list[str]) -> int:
        for name in (joint.name, f"{joint.name}_joint"):
            number = int(mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_JOINT, name))
            if number >= 0 and int(self._model.jnt_type[number]) in (_HINGE, _SLIDE):
                return number
        problems.append(
            f"no hinge or slide joint {joint.name} or {joint.name}_joint; it has {self._names('joint')}"
        )
        return -1

    def _body(self, name: str, problems: list[str]) -> int:
        number = int(mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_BODY, name))
        if number < 0:
            problems.append(f"no body {name}; it has {self._names('body')}")
        return number

    def _point(self, name: str, problems: list[str]) -> tuple[int, list[float]]:
        site = int(mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_SITE, name))
        if site >= 0:
            return int(self._model.site_bodyid[site]), self._model.site_pos[site].tolist()
        body = int(mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_BODY, name))
        if body < 0:
            problems.append(f"no site or body {name}; it has {self._names('site')} and {self._names('body')}")
        return body, [0.0, 0.0, 0.0]

    def _names(self, kind: str) -> str:
        count = {"joint": self._model.njnt, "body": self._model.nbody, "site": self._model.nsite}[kind]
        return ", ".join(name for i in range(count) if (name := getattr(self._model, kind)(i).name)) or "none"

    def _way_up(self, body: int) -> list[int]:
        """The body and all before it, without the world."""
        way = []
        while body > 0:
            way.append(body)
            body = int(self._model.body_parentid[body])
        return way

    def _own_joints(self, body: int) -> list[int]:
        first, count = int(self._model.body_jntadr[body]), int(self._model.body_jntnum[body])
        return [number for number in range(first, first + count) if number in self.joints]

    def _link(self, body: int) -> int:
        """The body that this one is rigidly part of: the first one up with a joint of the robot, or the world."""
        return next((each for each in self._way_up(body) if self._own_joints(each)), 0)

    def _compared(self, ignored: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
        pairs = []
        for a, b in combinations(range(len(self.carriers)), 2):
            bodies = self.carriers[a], self.carriers[b]
            one, other = (self._link(body) for body in bodies)
            adjacent = one == other or any(
                upper == self._link(int(self._model.body_parentid[lower])) and lower > 0
                for upper, lower in ((one, other), (other, one))
            )
            if not adjacent and bodies not in ignored and bodies[::-1] not in ignored:
                pairs.append((a, b))
        return pairs

    def _write(self, capsules: Sequence[Capsule], reach: float) -> str:
        root = ElementTree.Element("mujoco")
        ElementTree.SubElement(root, "compiler", angle="radian")
        elements = {0: ElementTree.SubElement(root, "worldbody")}
        carriers = [*self.carriers, self._tool[0]] if self._tool else self.carriers
        for body in sorted({body for carrier in carriers for body in self._way_up(carrier)}):
            elements[body] = self._write_body(elements[int(self._model.body_parentid[body])], body)
        if self._tool:
            ElementTree.SubElement(elements[self._tool[0]], "site", name=TOOL, pos=_text(self._tool[1]))
        for number, (capsule, body) in enumerate(zip(capsules, self.carriers, strict=True)):
            place = {"type": "sphere", "pos": _text(capsule.start), "size": _text([capsule.radius])}
            if capsule.end is not None and dist(capsule.start, capsule.end) > 1e-9:
                place["type"], place["fromto"] = "capsule", _text((*capsule.start, *capsule.end))
                del place["pos"]
            place |= {"name": str(number), "contype": "0", "conaffinity": "0"}
            ElementTree.SubElement(elements[body], "geom", place)
        contact = ElementTree.SubElement(root, "contact")
        for a, b in self.pairs:
            ElementTree.SubElement(contact, "pair", geom1=str(a), geom2=str(b), margin=_text([reach]))
        return ElementTree.tostring(root, encoding="unicode")

    def _write_body(self, parent: ElementTree.Element, body: int) -> ElementTree.Element:
        model = self._model
        place = {"pos": _text(model.body_pos[body].tolist()), "quat": _text(model.body_quat[body].tolist())}
        element = ElementTree.SubElement(parent, "body", place)
        # Nothing is ever weighed, but a body that moves has to have a mass.
        ElementTree.SubElement(element, "inertial", pos="0 0 0", mass="1", diaginertia="1 1 1")
        for number in self._own_joints(body):
            ElementTree.SubElement(
                element,
                "joint",
                name=str(self.joints[number]),
                type="hinge" if int(model.jnt_type[number]) == _HINGE else "slide",
                pos=_text(model.jnt_pos[number].tolist()),
                axis=_text(model.jnt_axis[number].tolist()),
                ref=_text([float(model.qpos0[model.jnt_qposadr[number]])]),
            )
        return element

    def _reaches(self, capsules: Sequence[Capsule], joints: Sequence[Joint]) -> list[float]:
        """A turning joint moves a point by its angle times the distance from its axis, which is at most the length
        of the chain between them, drawn straight."""
        reach = [0.0] * len(joints)
        points: list[tuple[int, Sequence[float]]] = [self._tool] if self._tool else []
        for capsule, body in zip(capsules, self.carriers, strict=True):
            points += [(body, capsule.start), (body, capsule.end or capsule.start)]
        for carrier, local in points:
            length = hypot(*local)
            for body in self._way_up(carrier):
                own = self._own_joints(body)
                for number in own:
                    joint, turns = joints[self.joints[number]], int(self._model.jnt_type[number]) == _HINGE
                    away = 2 * hypot(*self._model.jnt_pos[number].tolist())
                    length += away if turns else max(abs(joint.position_min), abs(joint.position_max))
                for number in own:
                    turns = int(self._model.jnt_type[number]) == _HINGE
                    place = self.joints[number]
                    reach[place] = max(reach[place], length if turns else 1.0)
                length += hypot(*self._model.body_pos[body].tolist())
        return reach


def load(options: WorkspaceOptions, joints: Sequence[Joint], reach: float) -> Skeleton:
    """The skeleton of the model that the options name. Raises WorkspaceError."""
    try:
        model: Any = mujoco.MjModel.from_xml_path(str(options.model))
    except (ValueError, OSError) as error:
        raise WorkspaceError([f"nothing that MuJoCo can read: {error}"]) from None
    return Skeleton(model, options, joints, reach)


def _text(numbers: Sequence[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
