"""The parameters of an emulated Damiao motor: names, factory values, what may be written, RAM and flash.

Numbers and access rights follow the maker's table as published with jia-xie/python-damiao-driver; the values are
typical ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.motors.damiao.frames import (
    CTRL_MODE,
    ESC_ID,
    INTEGERS,
    MODE_MIT,
    MODE_POS_FORCE,
    MST_ID,
    PMAX,
    SW_VER,
    TIMEOUT,
    TMAX,
    VMAX,
)
from drivers.motors.damiao.limits import Limits

UV_VALUE, OT_VALUE, MAX_SPD, OV_VALUE = 0, 2, 6, 29
V_BUS, T_PCB, T_MOTOR, P_M, X_OUT = 60, 61, 62, 80, 81
GEAR = 20


@dataclass(frozen=True, slots=True)
class Register:
    """One parameter."""

    name: str
    default: float = 0.0
    writable: bool = False


REGISTERS: dict[int, Register] = {
    UV_VALUE: Register("UV_Value", 15.0, True),
    1: Register("KT_Value", 0.0, True),
    OT_VALUE: Register("OT_Value", 100.0, True),
    3: Register("OC_Value", 0.9, True),
    4: Register("ACC", 20.0, True),
    5: Register("DEC", -20.0, True),
    MAX_SPD: Register("MAX_SPD", 0.0, True),
    MST_ID: Register("MST_ID", 0, True),
    ESC_ID: Register("ESC_ID", 1, True),
    TIMEOUT: Register("TIMEOUT", 0, True),
    CTRL_MODE: Register("CTRL_MODE", MODE_MIT, True),
    11: Register("Damp", 0.0003),
    12: Register("Inertia", 0.0001),
    13: Register("hw_ver", 0),
    SW_VER: Register("sw_ver", 5013),
    15: Register("SN", 0),
    16: Register("NPP", 14),
    17: Register("Rs", 0.65),
    18: Register("Ls", 0.0003),
    19: Register("Flux", 0.004),
    GEAR: Register("Gr", 10.0),
    PMAX: Register("PMAX", 12.5, True),
    VMAX: Register("VMAX", 30.0, True),
    TMAX: Register("TMAX", 10.0, True),
    24: Register("I_BW", 1000.0, True),
    25: Register("KP_ASR", 0.0035, True),
    26: Register("KI_ASR", 0.002, True),
    27: Register("KP_APR", 54.0, True),
    28: Register("KI_APR", 0.0, True),
    OV_VALUE: Register("OV_Value", 32.0, True),
    30: Register("GREF", 1.0, True),
    31: Register("Deta", 4.0, True),
    32: Register("V_BW", 40.0, True),
    33: Register("IQ_c1", 1000.0, True),
    34: Register("VL_c1", 1000.0, True),
    35: Register("can_br", 4, True),
    36: Register("sub_ver", 1),
    50: Register("u_off"),
    51: Register("v_off"),
    52: Register("k1", 1.0),
    53: Register("k2", 1.0),
    54: Register("m_off"),
    55: Register("dir", 1.0),
    59: Register("Imax", 10.0),
    V_BUS: Register("VBus", 24.0),
    T_PCB: Register("Tpcb", 25.0),
    T_MOTOR: Register("Tmtr", 25.0),
    P_M: Register("p_m"),
    X_OUT: Register("xout"),
}


class Registers:
    """RAM, which the motor works with, and flash, which survives a restart."""

    def __init__(self, esc_id: int, mst_id: int, limits: Limits, volts: float) -> None:
        self.ram = {number: register.default for number, register in REGISTERS.items()}
        self.ram[ESC_ID], self.ram[MST_ID] = esc_id, mst_id
        self.ram[PMAX], self.ram[VMAX], self.ram[TMAX] = limits.position, limits.velocity, limits.torque
        self.ram[MAX_SPD] = limits.velocity
        self.ram[V_BUS], self.ram[OV_VALUE] = volts, volts * 4 / 3
        self.flash = dict(self.ram)

    def __getitem__(self, number: int) -> float:
        return self.ram[number]

    @property
    def limits(self) -> Limits:
        """Full scales of the frames."""
        return Limits(self.ram[PMAX], self.ram[VMAX], self.ram[TMAX])

    def write(self, number: int, value: float) -> bool:
        """Write to RAM; False when the motor does not take it."""
        if not REGISTERS[number].writable or not math.isfinite(value):
            return False
        if number == CTRL_MODE and not MODE_MIT <= value <= MODE_POS_FORCE:
            return False
        if number in (MST_ID, ESC_ID) and value > 0x7FF:
            return False
        if number in (PMAX, VMAX, TMAX) and value <= 0:
            return False
        self.ram[number] = int(value) if number in INTEGERS else value
        return True

    def save(self) -> None:
        """RAM to flash."""
        self.flash = dict(self.ram)

    def restart(self) -> None:
        """Flash to RAM."""
        self.ram = dict(self.flash)
