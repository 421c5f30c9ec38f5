"""What a person reads while an apply goes on."""

from pvc_gitops.cli.progress import Progress

IMPORT = {"plan": "p", "step": "image.import image/tiny-guest", "node": "hv1", "error": ""}


def test_a_step_is_told_when_it_begins_and_when_it_ends() -> None:
    progress = Progress(began_s=100.0)
    running = progress.line({**IMPORT, "status": "running"}, now_s=101.0)
    done = progress.line({**IMPORT, "status": "done"}, now_s=165.0)
    assert running.split() == ["0:01", "image.import", "image/tiny-guest", "hv1", "running"]
    assert done.split()[0] == "1:05"
    assert done.endswith("done")


def test_the_same_event_twice_is_told_once() -> None:
    progress = Progress(began_s=0.0)
    assert progress.line({**IMPORT, "status": "running"}, now_s=1.0)
    assert progress.line({**IMPORT, "status": "running"}, now_s=2.0) == ""


def test_long_work_tells_each_quarter() -> None:
    progress = Progress(began_s=0.0)
    progress.line({**IMPORT, "status": "running", "progress": 0.0}, now_s=1.0)
    assert progress.line({**IMPORT, "status": "running", "progress": 0.1}, now_s=2.0) == ""
    assert progress.line({**IMPORT, "status": "running", "progress": 0.55}, now_s=3.0).endswith(
        "50 %"
    )


def test_a_failure_gives_its_reason_and_is_counted() -> None:
    progress = Progress(began_s=0.0)
    failed = {**IMPORT, "status": "failed", "error": "checksum differs; correct spec.checksum"}
    assert "checksum differs; correct spec.checksum" in progress.line(failed, now_s=1.0)
    assert progress.failed == 1
