from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast the machine is decides nothing.
settings.register_profile("reflexd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reflexd")
