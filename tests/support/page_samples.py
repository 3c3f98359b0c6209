"""Reports and rankings with nasty names, and a reader of the pages made from them."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from distill.evaluation.metrics import compute_metrics
from distill.recipe import Recipe
from distill.report.report import Report
from selection import RankedTeacher, Ranking
from zoo.teachers.starts import find_start

NASTY = ('<script>alert("x")</script>', 'a & b\'s "[red]" $x^2$', "two\nlines 🙂", "ok")
"""Class names that a careless page would trip over."""

VOID = {"img", "meta", "br"}
HISTORY = [{"update": 10.0 * n, "rate": 0.1, "labels": 2 / n, "<b>": 1.0} for n in range(1, 30)]


@dataclass
class Element:
    """An element of a page: its name, attributes and all text inside."""

    name: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page taken apart; refuses tags that do not match."""

    source: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self.open, [element.name for element in self.open]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop().name == tag

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def all(self, name):
        """Every element of this name."""
        return [element for element in self.elements if element.name == name]

    def by_id(self, key):
        """The one element with this id."""
        (found,) = [element for element in self.elements if element.attributes.get("id") == key]
        return found

    @property
    def keys(self):
        """Anchors of the parts."""
        return [element.attributes["id"] for element in self.all("section")]


def make_evaluation(paths, classes=NASTY, seed=0):
    """What a network of random probabilities gets on these images."""
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.full(len(classes), 0.3), len(paths)).astype(np.float32)
    truth = random.integers(0, len(classes), len(paths))
    return compute_metrics(chances, truth, tuple(classes), paths)


def make_report(paths: list[Path] | None = None, **changes):
    """A report of a run, tested if there are images."""
    entries = {
        "method": "weighted",
        "arch": "test_resnet",
        "start": find_start("random", "test_resnet"),
        "target": "/data/<imgs>",
        "classes": NASTY,
        "labeled": 8,
        "unlabeled": 90,
        "skipped": 1,
        "teachers": {"bee": 0.25, "ant": 0.75},
        "objective": "target",
        "recipe": Recipe(updates=290, seed=4),
        "image_size": 32,
        "seconds": 1.5,
        "student": "my student",
        "evaluation": make_evaluation(paths) if paths else None,
        "notes": ("a <warning>",),
        "digest": "d1" * 32,
        "command": "zoo distill --target '<imgs>'",
    }
    return Report(**{**entries, **changes})


def make_ranking():
    """A ranking of two teachers, one that failed and a control, by two metrics."""
    ant, bee, noise = ({"linear_probe": score, "k": -score} for score in (0.8, 0.6, 0.3))
    rows = (
        RankedTeacher("ant", "ants", 0.8, 0.7, 0.9, 0.75, "ok", "", 0.4, 1, ant),
        RankedTeacher("bee", "<i>", 0.6, 0.5, 0.7, 0.25, "ok", "", 0.41, 2, bee),
        RankedTeacher("noise", "", 0.3, 0.2, 0.5, 0, "control", "", 0.4, None, noise),
        RankedTeacher("cat", "cats", None, None, None, 0, "failed", "broken <file>"),
    )
    return Ranking(
        target="/data/<imgs>",
        metric="linear_probe,k",
        images=98,
        labeled=8,
        classes=4,
        teachers=rows,
        seed=4,
        digest="d1" * 32,
        power=4,
    )
