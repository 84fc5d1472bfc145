"""Every lie by its name."""

from tests.schedules.lies_in_setup import SETUP_LIES
from tests.schedules.lies_in_sums import SUM_LIES
from tests.schedules.lies_of_members import MEMBER_LIES
from tests.schedules.telling import HubLie

HUB_LIES: dict[str, HubLie] = {**SETUP_LIES, **SUM_LIES}

__all__ = ["HUB_LIES", "MEMBER_LIES"]
