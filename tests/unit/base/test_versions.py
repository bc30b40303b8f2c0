"""Versions in their order."""

from itertools import pairwise

from tfnz_notebook._base.versions import older

ORDER = ["", "0.0.9", "0.1.0.dev3", "0.1.0a1", "0.1.0rc1", "0.1.0", "0.1.1", "0.2", "0.10.0", "2"]


def test_versions_in_their_order() -> None:
    for earlier, later in pairwise(ORDER):
        assert older(earlier, later) and not older(later, earlier), (earlier, later)
        assert not older(later, later)
    assert older("0.1.0", "0.1.0.post1") and older("0.1.0", "0.1.0+local")


def test_zeroes_at_the_end_say_nothing() -> None:
    assert not older("0.1", "0.1.0") and not older("0.1.0", "0.1")
