"""The public names: complete, sorted, documented, and none in a module's way."""

import importlib
import inspect
import pkgutil

import pytest

import distill
import selection
import zoo

PACKAGES = [zoo, selection, distill]
each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)

EXPECTED = {
    "zoo": "FeatureStore Features Images Preprocessing Runtime Teacher TeacherCard TeacherOutputs "
    "ZooError extract_features find_card keep_freed_memory list_cards load_teacher read_images",
    "selection": "BLIND_METRIC METRIC METRICS POWER UNLABELED RankedTeacher Ranking ScoreStore "
    "check_labels find_nearest knn linear_probe parc rank",
    "distill": "Recipe Report Student Trained evaluate load_network predict save_student train",
}


@each_package
def test_the_public_names_are_these(package):
    assert package.__all__ == EXPECTED[package.__name__].split()


@each_package
def test_every_public_name_is_at_home_in_the_package(package):
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__name__ == name
            assert value.__module__.partition(".")[0] == package.__name__


@each_package
def test_every_public_name_is_documented(package):
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


@each_package
def test_no_public_name_is_that_of_a_module_beside_it(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


@each_package
def test_a_name_that_does_not_exist_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018
    assert not hasattr(package, "__wrapped__")


@pytest.mark.parametrize("package", [zoo, distill], ids=lambda p: p.__name__)
def test_the_late_names_are_exactly_the_public_ones(package):
    assert sorted(package._HOME) == package.__all__
    for name, module in package._HOME.items():
        home = importlib.import_module(f"{package.__name__}.{module}")
        assert getattr(package, name) is getattr(home, name)


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert zoo.__version__ == version("source-zoo")
