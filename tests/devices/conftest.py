"""Every test here begins as a new process would: losses that grow with a run's progress do not see an earlier run."""

from unittest import mock

import pytest
from mmengine.logging import MessageHub


@pytest.fixture(autouse=True)
def no_run_before():
    with mock.patch.dict(MessageHub._instance_dict, clear=True):
        yield
