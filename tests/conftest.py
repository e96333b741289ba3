"""What every test shares: Hypothesis without deadlines, for two busy cores, and the real clock left alone."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("amp0", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("amp0")
