"""What all tests have in common: none of them fails because the machine has much else to do,
and what fails once fails again.

Property tests draw the same examples at every run, so that a change is what turns them red. New
examples are drawn by ``pytest --hypothesis-profile=explore``, ten times as many; what that finds
becomes an ``@example``.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("unhurried", UNHURRIED, derandomize=True, database=None)
settings.register_profile("explore", UNHURRIED, max_examples=1000)
settings.load_profile("unhurried")
