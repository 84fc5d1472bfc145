"""Hypothesis draws the same cases on every run; `HYPOTHESIS_PROFILE=long` looks further, with new ones each time."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.s3_server import S3Server

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "long", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server
