"""Which warnings fail a test, and which are only listed."""

from __future__ import annotations

import warnings

import pytest

OURS = ("napari_patchioner.regions.cover", "tests.regions.test_cover", "tests.conftest")
THEIRS = ("torch.nn.modules.module", "napari.layers", "napari_patchioner_lookalike")
ANNOUNCED = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, SyntaxWarning)
MISTAKES = (RuntimeWarning, ResourceWarning, UserWarning, BytesWarning)


def shown(message: str, category: type[Warning], module: str) -> list[str]:
    """Warn as a line of a module would; what is listed, unless it raises."""
    with warnings.catch_warnings(record=True) as listed:
        warnings.warn_explicit(message, category, "a_file.py", 1, module=module)
    return [str(warning.message) for warning in listed]


@pytest.mark.parametrize("module", THEIRS)
@pytest.mark.parametrize("category", ANNOUNCED)
def test_what_a_dependency_announces_is_listed(category, module):
    assert shown("use the other one", category, module) == ["use the other one"]


@pytest.mark.parametrize("module", THEIRS)
@pytest.mark.parametrize(
    "message", ["This is deprecated.", "In use:\n`old` will be removed in version 9."]
)
def test_a_deprecation_of_another_category_is_listed_too(message, module):
    assert shown(message, UserWarning, module) == [message]


@pytest.mark.parametrize("module", OURS)
@pytest.mark.parametrize("category", ANNOUNCED + MISTAKES)
def test_a_warning_about_a_line_of_this_project_is_an_error(category, module):
    with pytest.raises(category):
        shown("this is deprecated", category, module)


@pytest.mark.parametrize("category", MISTAKES)
def test_every_other_warning_is_an_error_wherever_it_is_raised(category):
    with pytest.raises(category):
        shown("invalid value encountered", category, "numpy.core")
