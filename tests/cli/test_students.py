"""`zoo students`: sizes, times and limits."""

import pytest
import timm

from distill import catalogue
from distill.export import latency

SMALL, MIDDLE, LARGE = "lcnet_035", "mobilenetv3_small_100", "resnet10t"
TIMES = {SMALL: 9.0, MIDDLE: 5.0, LARGE: 7.0}


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Three students; the list holds the image sizes that were timed, one entry per student."""
    sizes, times = [], []

    def measure(_predictor, image, **_):
        sizes.append(image.shape[-1])
        times.append(list(TIMES.values())[len(times) % 3])
        return latency.Latency(times[-1], times[-1], 1)

    monkeypatch.setattr(catalogue, "STUDENTS", tuple(TIMES))
    monkeypatch.setattr(latency, "measure_latency", measure)
    return sizes


def archs(ran):
    assert ran.code == 0, ran.err
    return [row["arch"] for row in ran.json]


def test_the_fastest_student_is_first_and_the_last_line_trains_it(command):
    ran = command("students")
    rows = [line.split() for line in ran.out.splitlines() if line.strip()]
    assert [row[0] for row in rows[2:5]] == [MIDDLE, LARGE, SMALL]
    assert rows[2][-1] == "builtin"
    assert rows[-1] == f"zoo distill --target FOLDER --arch {MIDDLE} --image-size 128".split()
    assert "zoo pull --start" in command("students", "--max-mb", 1).out.splitlines()[-2]


def test_weights_and_megabytes_are_those_of_the_saved_student(command):
    row = next(row for row in command("students", "--json").json if row["arch"] == SMALL)
    network = timm.create_model(SMALL, num_classes=10)
    assert row["params"] == sum(weight.numel() for weight in network.parameters())
    assert 2 * row["params"] < row["bytes"] < 2.2 * row["params"]
    assert (row["milliseconds"], row["starts"]) == (9.0, [])


def test_students_are_timed_at_the_image_size_once(command, measured):
    archs(command("students", "--image-size", 96, "--json"))
    archs(command("students", "--image-size", 96, "--json"))
    assert measured == [96, 96, 96]
    archs(command("students", "--image-size", 32, "--json"))
    assert measured == [96, 96, 96, 32, 32, 32]


def test_limits_leave_out_what_is_slower_or_larger(command):
    assert archs(command("students", "--max-ms", 7, "--json")) == [MIDDLE, LARGE]
    assert archs(command("students", "--max-mb", 4, "--json")) == [MIDDLE, SMALL]
    assert archs(command("students", "--max-ms", 7, "--max-mb", 4, "--json")) == [MIDDLE]


def test_limits_that_no_student_meets_are_one_line(command):
    ran = command("students", "--max-ms", 1)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith("Error: None of 3 students")
    assert "--max-ms" in ran.err.splitlines()[-1]


def test_a_student_that_rejects_the_image_size_is_left_out(command, monkeypatch):
    monkeypatch.setattr(catalogue, "STUDENTS", (SMALL, "crossvit_tiny_240"))
    assert archs(command("students", "--json")) == [SMALL]


def test_a_cache_that_cannot_be_read_is_measured_again(command, measured, cache):
    archs(command("students", "--json"))
    for path in (cache / "students").iterdir():
        path.write_text("{")
    archs(command("students", "--json"))
    assert len(measured) == 6
