"""What people see: tables and sentences about teachers, rankings, students and plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli import terminal
from zoo.system.timing import format_duration
from zoo.system.words import join_few
from zoo.teachers.catalogue import missing_packages

if TYPE_CHECKING:
    from distill.catalogue import StudentSummary
    from distill.evaluation.comparison import Comparison
    from distill.evaluation.metrics import Evaluation
    from distill.export.export import Exported
    from distill.report.report import Report
    from selection import Ranking
    from zoo.hub.pull import Pulled
    from zoo.system.timing import Plan
    from zoo.teachers.card import TeacherCard
    from zoo.teachers.verify import Verification

CHOSEN = {
    "updates": "--updates {}",
    "image_size": "--image-size {}",
    "seeds": "--seeds {}",
    "max_labeled": "at most {} labeled images",
    "max_unlabeled": "--max-unlabeled {}",
}
"""What a budget chooses, in words."""


def ranking_table(ranking: Ranking) -> None:
    """Teachers by closeness, with intervals and shares; equal ranks are ties."""
    first, *others = ranking.metric.split(",")
    teachers = ranking.teachers
    ranked = ["rank>"] if any(row.rank for row in teachers) else []
    drawn = ["95 % interval"] if any(row.low is not None for row in teachers) else []
    columns = [*ranked, "teacher", "domain~", f"{first}>", *drawn, *(f"{n}>" for n in others)]
    rows = [
        [
            *(str(row.rank or "") for _ in ranked),
            row.name,
            row.domain,
            "failed" if row.score is None else f"{row.score:.3f}",
            *(_interval(row.low, row.high) for _ in drawn),
            # a row that was edited by hand may lack one
            *(f"{row.scores[name]:.3f}" if name in row.scores else "" for name in others),
            {"ok": f"{row.share:.1%}", "control": "control", "failed": ""}[row.status],
        ]
        for row in teachers
    ]
    terminal.show_rows([*columns, "share>"], rows)
    for row in teachers:
        if row.status == "failed":
            terminal.say(f"{row.name} failed: {row.reason}")
    terminal.say(
        f"{ranking.labeled} labeled of {ranking.images} images, {ranking.classes} classes; "
        f"{ranking.forward_passes} forward passes."
    )
    for text in ranking.explanation:
        terminal.say(text)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def student_table(students: Sequence[StudentSummary], image_size: int) -> None:
    """Students to choose from, and the command that trains the first."""
    rows = [
        (
            student.arch,
            f"{student.params / 1e6:.1f}",
            f"{student.bytes / 1e6:.1f}",
            f"{student.milliseconds:.1f}",
            ", ".join(student.starts),
        )
        for student in students
    ]
    columns = ["student", "million weights>", "MB>", f"ms at {image_size} px>", "starts here~"]
    terminal.show_rows(columns, rows)
    first = next((student for student in students if student.starts), students[0])
    if not first.starts:
        terminal.say(f"zoo pull --start {first.arch}")
    terminal.say(f"zoo distill --target FOLDER --arch {first.arch} --image-size {image_size}")


def evaluation_table(result: Evaluation) -> None:
    """Results by class, the worst first, and overall; calibration; confusions."""
    from distill.evaluation.metrics import PAIRS

    rows = sorted(result.by_class, key=lambda row: row.accuracy)
    terminal.show_rows(
        ["class", "recall>", "95 % interval>", "precision>", "F1>", "images>"],
        [
            (
                row.name,
                f"{row.accuracy:.1%}",
                f"{row.low:.1%} to {row.high:.1%}",
                f"{row.precision:.1%}",
                f"{row.f1:.2f}",
                str(row.images),
            )
            for row in rows
        ],
    )
    terminal.say(accuracy_line(result))
    if result.calibration:
        terminal.say(
            f"Expected calibration error {result.calibration.error:.1%} (a calibrated student: up "
            f"to {result.calibration.noise:.1%}); mean confidence "
            f"{result.calibration.confidence:.1%}."
        )
    for label, other, count in result.confused[:PAIRS]:
        terminal.say(f"{label} predicted as {other}: {count} image{'s' * (count > 1)}.")


def plan_table(plan: Plan, *, dry_run: bool, as_json: bool) -> None:
    """What a command is going to do: on stdout in a dry run, else on stderr before it begins."""
    if dry_run and as_json:
        terminal.print_json(plan.to_json())
        return
    place = terminal.out if dry_run else terminal.err
    rows: list[tuple[str, str, str, str]] = []
    for step in plan.steps:
        count, unit = f"{step.count:,}", step.unit
        if unit == "bytes":
            count, unit = f"{step.count / 1e6:.1f}", "MB"
        time = "?"
        if step.seconds is not None:
            time = format_duration(step.seconds) if step.seconds >= 1 else "<1s"
        rows.append((step.what, count, unit, time))
    terminal.show_rows(["step", ">", "", "time>"], rows, place)
    total = f"{format_duration(plan.seconds)} in all"
    if plan.budget:
        total += f", of {format_duration(plan.budget)}"
    fetched = plan.count("bytes")
    total += f", and the time to fetch {fetched / 1e6:.1f} MB" if fetched else ""
    words = ", ".join(CHOSEN[name].format(number) for name, number in plan.chosen.items())
    lines = [f"{total}.", f"The budget chooses {words}." if words else "", *plan.warnings]
    for line in filter(None, lines):
        place.print(terminal.one_line(line))


def teacher_table(cards: Sequence[TeacherCard]) -> None:
    """The zoo, a line a teacher; a wide terminal shows more of each."""
    wide = terminal.out.width >= 120
    more = ("accuracy>", "data~", "network") if wide else ()
    rows: list[tuple[str, ...]] = []
    for card in sorted(cards, key=lambda card: bool(card.repo)):  # embedded ones and yours first
        accuracy = "" if card.accuracy is None else f"{card.accuracy:.1%}"
        details = (accuracy, card.data, card.network.partition(".")[0]) if wide else ()
        size = f"{card.bytes / 1e6:.0f} MB" if card.bytes >= 1e7 else f"{card.bytes / 1e6:.1f} MB"
        classes = str(card.classes or "-")
        license = f"{card.license}; data: {card.data_license}"
        rows.append((card.name, card.domain, classes, size, license, *details, _place(card)))
    terminal.show_rows(
        ["name", "domain~", "classes>", "size>", "license~", *more, ""], rows, fold=True
    )
    here = sum(card.folder is not None for card in cards)
    terminal.out.print(
        f"{len(cards)} teachers of {len({card.domain for card in cards})} domains, {here} on this "
        "machine. * is in the default set of `zoo pull --default`; teachers without classes are "
        "used for their features; `zoo info NAME` shows all of one.",
        soft_wrap=False,
    )
    if missing := missing_packages(cards):
        terminal.say(missing)


def _place(card: TeacherCard) -> str:
    if card.package:
        return "installed" if card.folder else "not installed"
    if not card.repo:
        return "embedded" if card.source.startswith("builtin:") else "yours"
    return "pulled" if card.folder else "gated" if card.gated else "*" * card.default


def card_lines(card: TeacherCard) -> None:
    """All of a card, a line an entry; long lists are cut."""
    shown = {**card.to_json(), "folder": str(card.folder or "not on this machine")}
    labels = ", ".join(card.labels[:12])
    labels += f", ... ({len(card.labels)})" if len(card.labels) > 12 else ""
    shown |= {"bytes": f"{card.bytes / 1e6:.1f} MB", "labels": labels}
    if card.accuracy is not None:
        images = shown.pop("accuracy_images", "unknown numbers of")
        published = ", as published" if card.evidence == "published" else ""
        shown["accuracy"] = (
            f"{card.accuracy:.1%} on {images} held-out images of its own domain{published}"
        )
    for name, golden in (("golden", card.golden), ("golden_logits", card.golden_logits)):
        if golden:
            kind = "logits" if name == "golden_logits" else "embeddings"
            shown[name] = f"{kind} of two synthetic images, {len(golden[0])} numbers each"
    rows = [(n, str(value)) for n, value in shown.items() if value not in ("", (), {}, None, 0)]
    terminal.show_rows(["entry", "value~"], rows, fold=True)


def pull_table(rows: Sequence[Pulled]) -> None:
    """What was fetched, a line a teacher, and the bytes in all."""
    sizes = [f"{row.bytes / 1e6:.1f} MB" if row.bytes else "" for row in rows]
    terminal.show_rows(
        ["teacher", "", "size>", "commit", "reason~"],
        [
            (row.name, row.status, size, row.revision[:12], row.reason)
            for row, size in zip(rows, sizes, strict=True)
        ],
        fold=True,
    )
    total = sum(row.bytes for row in rows) / 1e6
    failed = sum(row.status == "failed" for row in rows)
    terminal.say(f"{total:.1f} MB, {len(rows) - failed} of {len(rows)} teachers.")


def verification_table(verdicts: Sequence[Verification]) -> None:
    """Checks of each teacher, and the first that failed."""
    terminal.show_rows(
        ["teacher", "", "checked~"],
        [
            (row.name, "BROKEN" if row.problem else "ok", row.problem or ", ".join(row.checks))
            for row in verdicts
        ],
        fold=True,
    )
    broken = sum(bool(row.problem) for row in verdicts)
    terminal.say(f"{len(verdicts) - broken} of {len(verdicts)} teachers verified.")


def report_lines(report: Report) -> None:
    """A finished run in a few lines."""
    shares = sorted(report.teachers.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)
    terminal.say(
        f"{report.arch}, {report.method}, {report.recipe.updates} updates in "
        f"{report.seconds:.0f} s" + (f"; teachers: {named}" if named else "") + "."
    )
    terminal.say(f"Initial weights: {report.start}.")
    if report.evaluation:
        terminal.say(accuracy_line(report.evaluation))
    terminal.say(f"Student: {report.student}")
    page = Path(report.student) / "report.html"
    if page.is_file():
        terminal.say(f"Report: {page}")


def accuracy_line(result: Evaluation) -> str:
    """Accuracy with its interval, and what puts it into proportion, in words."""
    return (
        f"Accuracy {result.accuracy:.1%} on {result.images} images "
        f"(95 % interval {result.low:.1%} to {result.high:.1%}); "
        f"balanced accuracy {result.balanced_accuracy:.1%}; "
        f"always the most frequent class {result.majority_class_accuracy:.1%}."
    )


def comparison_table(comparison: Comparison) -> None:
    """Methods from the best to the worst with p-values for all pairs, then which to ship.

    Balanced accuracy is shown where it differs by a point or more from the accuracy.
    """
    standings = comparison.standings
    gaps = [abs(s.accuracy - s.balanced_accuracy) for s in standings if s.balanced_accuracy]
    balanced = ["balanced>"] if max(gaps, default=0.0) >= 0.01 else []
    rows: list[tuple[str, ...]] = []
    for row in standings:
        interval = f"{row.low:.1%} to {row.high:.1%}"
        behind, p_value = "", ""
        if row.behind:
            behind = f"{100 * row.behind:.1f}"
            p_value = f"{row.chance:.3f}" if row.chance >= 0.001 else "<0.001"
        cost = (
            (f"{row.cost.milliseconds:.1f}", f"{row.cost.megabytes:.1f}") if row.cost else ("", "")
        )
        classes = [f"{row.balanced_accuracy or 0:.1%}" for _ in balanced]
        cells = (row.method, f"{row.accuracy:.1%}", interval, *classes, behind, p_value, *cost)
        rows.append((*cells, f"{row.seconds:.0f}"))
    heads = ["method", "accuracy>", "95 % interval>", *balanced, "behind best>", "p-value>"]
    terminal.show_rows([*heads, "ms>", "MB>", "training s>"], rows)
    terminal.say(comparison.verdict)
    folds = f"{comparison.folds}-fold cross-validation" if comparison.folds else "held out"
    seeds = "one seed" if comparison.seeds == 1 else f"{comparison.seeds} seeds"
    majority = comparison.majority_class_accuracy
    always = f"; always the most frequent class {majority:.1%}" if balanced and majority else ""
    terminal.say(
        f"{comparison.images} labeled images, {folds}{always}; {seeds}; p-values are adjusted for "
        "all pairs of methods."
    )


def verdict(reports: Sequence[Report]) -> None:
    """Methods side by side, then in words whether the student of the first is better."""
    results = [(report, report.evaluation) for report in reports if report.evaluation]
    terminal.show_rows(
        ["method", "accuracy>", "95 % interval>", "seconds>"],
        [
            (
                report.method,
                f"{result.accuracy:.1%}",
                f"{result.low:.1%} to {result.high:.1%}",
                f"{report.seconds:.0f}",
            )
            for report, result in results
        ],
    )
    (first, one), (second, other) = ((report.method, result) for report, result in results)
    gain, low, high = one.gain_over(other)
    points = f"{abs(gain) * 100:.1f} points ({low * 100:+.1f} to {high * 100:+.1f})"
    if low > 0:
        terminal.say(f"The student of {first} is significantly better than that of {second}: by"
                     f" {points} on {one.images} test images.")  # fmt: skip
    elif high < 0:
        terminal.say(f"The student of {first} is significantly worse than that of {second}: by"
                     f" {points}. Ship the latter.")  # fmt: skip
    else:
        terminal.say(f"The students of {first} and {second} differ by {points}: not significant.")
    terminal.say(
        "One draw of labels and one seed: this is about two students. `zoo compare --seeds 3` "
        "compares methods."
    )


def export_lines(exported: Exported) -> None:
    """Cost and accuracy of each runtime, then how far the file is from the student."""
    columns = ["runtime", "precision", "ms, median>", "ms, 95 %>", "MB>"]
    rows: list[tuple[str, ...]] = []
    for row in exported.runtimes:
        times = (row.latency.median, row.latency.p95) if row.latency else ()
        cells = [f"{time:.2f}" for time in times] or ["", ""]
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.1%}"
        rows.append((row.name, row.precision, *cells, f"{row.bytes / 1e6:.2f}", accuracy))
    if not exported.labeled:
        rows = [row[:-1] for row in rows]
    terminal.show_rows([*columns, *(["accuracy>"] if exported.labeled else [])], rows)
    terminal.say("One image at a time on one thread of this machine, without reading the file.")
    if exported.labeled:
        terminal.say(f"Accuracy on {exported.labeled} labeled images.")
    where = f"{exported.images} images" if exported.images else "random images"
    if exported.difference is None:
        terminal.say(f"Not compared: nothing on this machine runs {exported.runtimes[-1].name}.")
    else:
        agreed = ""
        if exported.agreement is not None:
            agreed = f"; the top class is the same for {exported.agreement:.1%} of the images"
        gap = f"a probability differs by up to {exported.difference:.1e}"
        terminal.say(f"Against torch on {where}: {gap}{agreed}.")
    if exported.resized is not None:
        terminal.say(f"Resizing inside changes a probability by up to {exported.resized:.1e}.")
    terminal.say(f"Saved as {exported.path}: uint8 pixels in, probabilities out.")


def unknown_classes_note(exported: Exported) -> str:
    """What images of other classes are in the folder, if any; else empty."""
    if not exported.unknown_classes:
        return ""
    names = join_few(exported.unknown_classes)
    return f"The accuracy leaves out images of classes that the student does not know: {names}."


def export_warning(exported: Exported) -> str:
    """A warning if the file and the student disagree; else empty."""
    if exported.agrees or exported.agreement is None:
        return ""
    return (
        f"Warning: {exported.path} predicts another class than the student for "
        f"{1 - exported.agreement:.1%} of {exported.images} images: test it before you ship it, "
        "or export without --int8."
    )
