"""The public names: sorted, at home, documented with an example, and none in a module's way."""

import importlib
import inspect
import pkgutil

import pytest

import distill
import selection
import zoo
from tests.test_architecture import check

PACKAGES = [zoo, selection, distill]

EXPECTED = {
    "zoo": "FeatureStore Features ImageSource Images Preprocessing Runtime Teacher "
    "TeacherCard TeacherOutputs ZooError extract_features find_card keep_freed_memory "
    "list_cards load_teacher read_images",
    "selection": "BLIND_METRIC METRIC METRICS POWER UNLABELED DataCheck RankedTeacher Ranking "
    "RankingJob ScoreStore check_images check_labels find_nearest knn linear_probe parc rank "
    "rank_images ranker",
    "distill": "Comparison ComparisonJob Distillation DistillationJob Evaluation Prediction Recipe "
    "Report Student StudentClassifier StudentSummary Trained compare_methods distill_images "
    "evaluate evaluate_student list_students load_network predict predict_files save_student train",
}


def public():
    """Package, name and value of every public class and function."""
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield package.__name__, name, value


def test_the_public_names_are_these():
    assert {package.__name__: " ".join(package.__all__) for package in PACKAGES} == EXPECTED


def test_public_names_are_sorted_as_ruff_sorts_them():
    def order(name):
        return (not name.isupper(), not name[0].isupper(), name)

    for package in PACKAGES:
        assert package.__all__ == sorted(package.__all__, key=order)


def test_every_public_name_is_at_home_in_its_package_and_keeps_its_name():
    check(
        [
            f"{package}.{name} is {value.__module__}.{value.__name__}"
            for package, name, value in public()
            if (value.__name__, value.__module__.partition(".")[0]) != (name, package)
        ]
    )


def test_every_public_name_is_documented_with_an_example():
    check(
        [
            f"{package}.{name}"
            for package, name, value in public()
            if "\nExample:\n" not in ((value.__doc__ and inspect.getdoc(value)) or "")
        ]
    )


def test_no_public_name_is_that_of_a_module_beside_it():
    check(
        [
            f"{package.__name__}.{module.name}"
            for package in PACKAGES
            for module in pkgutil.iter_modules(package.__path__)
            if module.name in package.__all__
        ]
    )


def test_a_name_that_does_not_exist_is_an_attribute_error():
    for package in PACKAGES:
        with pytest.raises(AttributeError, match="nonsense"):
            package.nonsense  # noqa: B018
        assert not hasattr(package, "__wrapped__")


def test_the_late_names_are_exactly_the_public_ones():
    for package in PACKAGES:
        homes = getattr(package, "_MODULES", {})
        assert not homes or sorted(homes) == sorted(package.__all__)
        for name, module in homes.items():
            home = importlib.import_module(f"{package.__name__}.{module}")
            assert getattr(package, name) is getattr(home, name)


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert zoo.__version__ == version("source-zoo")
