"""From the policy's numbers to goals of joints."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from runtime.policy.errors import TermsError
from runtime.policy.terms import ActionMap, ActionTerm

JOINTS = ["base", "elbow", "wrist", "gripper"]


def test_goals_are_offset_and_scale():
    actions = ActionMap([ActionTerm(offset=[1.0, 2.0, 3.0, 4.0], scale=0.5)], JOINTS)
    assert actions.size == 4
    curve = actions.curve.through(np.array([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 2.0, -2.0]]))
    assert curve[:, 0].tolist() == [[1.0, 2.0, 3.0, 4.0], [1.5, 1.5, 4.0, 3.0]]


def test_terms_take_the_action_in_order_and_other_joints_hold():
    actions = ActionMap(
        [ActionTerm(joints=["gripper"], scale=0.1), ActionTerm(joints=["wrist", "base"], offset=[0.0, 1.0])],
        JOINTS,
    )
    assert actions.size == 3
    hold = np.array([9.0, 8.0, 7.0, 6.0])
    curve = actions.curve.through(np.array([[10.0, 20.0, 30.0], [11.0, 21.0, 31.0]]))
    actions.fill(curve, hold)
    assert curve[:, 0] == pytest.approx(np.array([[31.0, 8.0, 20.0, 1.0], [32.0, 8.0, 21.0, 1.1]]))
    assert hold.tolist() == [9.0, 8.0, 7.0, 6.0]


def test_all_mistakes_at_once():
    with pytest.raises(TermsError) as caught:
        ActionMap(
            [
                ActionTerm(joints=["base", "nose"], scale=[1.0, 2.0, 3.0]),
                ActionTerm(joints=["base", "wrist", "wrist"]),
                ActionTerm(joints=[]),
            ],
            JOINTS,
        )
    assert caught.value.problems == (
        "action term 1 (joint.position): no joint is called nose; found base, elbow, wrist, gripper",
        "action term 1 (joint.position): scale has 3 numbers, expected one, or one for each of the 2 values",
        "action term 2 (joint.position): wrist found more than once, expected each joint once",
        "action term 2 (joint.position): base moved by an earlier term already; expected each joint once",
        "action term 3 (joint.position): found an empty list of joints; leave it out to take all",
    )
    with pytest.raises(TermsError, match="found no action terms"):
        ActionMap([], JOINTS)


def test_a_target_that_does_not_exist():
    with pytest.raises(ValidationError, match=r"found 'joint\.torque', expected joint\.position"):
        ActionTerm(target="joint.torque")
