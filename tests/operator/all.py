"""Every manipulation."""

from tests.operator import of_history, of_jobs, of_keys, of_members, of_new_log
from tests.operator.play import ALL

__all__ = ["ALL", "of_history", "of_jobs", "of_keys", "of_members", "of_new_log"]
