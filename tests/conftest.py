"""What holds for all tests: where everything must run, a skipped test is a failed one."""

import gc
import os

import pytest


@pytest.fixture(autouse=True)
def _collector():
    """A command that ends its process may leave the garbage collector off; the next test is another."""
    yield
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _cache_home(tmp_path_factory):
    """Commands remember documents between runs: the tests' are nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    del item, call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where everything must run: {reason}"
    return report
