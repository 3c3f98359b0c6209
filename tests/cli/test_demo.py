"""`zoo demo`: its folder, and how it goes on after it was stopped."""

from pathlib import Path

import pytest

import distill.pipeline
import selection.pipeline
from cli import tables
from distill.export import export
from tests.support.scoring_tasks import make_ranking
from zoo.images.folder import read_images


@pytest.fixture
def jobs(monkeypatch):
    """Method and overwriting of each student of the demo; the first is stopped by Ctrl-C."""
    made = []

    class Job:
        def __init__(self, images, how, **options):
            made.append((how.method, options["overwrite"]))

        def run(self):
            if len(made) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(distill.pipeline, "DistillationJob", Job)
    ranking = make_ranking([0.5, 0.4, 0.3], [0.5, 0.3, 0.2])
    monkeypatch.setattr(selection.pipeline, "rank_images", lambda *_, **__: ranking)
    monkeypatch.setattr(tables, "verdict", lambda _: None)
    return made


def test_a_demo_that_was_stopped_goes_on_and_one_that_is_done_is_kept(command, jobs):
    stopped = command("demo", "--save", "mine")
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "Stopped. The same command resumes from where it was."
    assert "exists already" in command("demo", "--save", "mine", "--seed", 1).mistake
    assert command("demo", "--save", "mine").code == 0
    assert jobs == [("weighted", False), ("weighted", True), ("transfer", True)]
    assert "exists already" in command("demo", "--save", "mine").mistake
    images, test = read_images(Path("mine/images")), read_images(Path("mine/test"))
    assert (images.labeled, len(images), len(test)) == (40, 1240, 557)


def test_what_does_not_resume_does_not_say_so(command, transfer, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    assert transfer().code == 0
    monkeypatch.setattr(export, "export_student", stop)
    assert command("export", "student").err.splitlines()[-1] == "Stopped."
