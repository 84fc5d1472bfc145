"""Every planted bug."""

from tests.schedules import planted_in_opening, planted_in_setup, planted_in_stores, planted_in_sums
from tests.schedules.planting import PLANTED, Planted

__all__ = ["PLANTED", "Planted", "planted_in_opening", "planted_in_setup", "planted_in_stores", "planted_in_sums"]
