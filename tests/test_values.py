"""Values: compared by what they hold, small, and made by nothing but their fields."""

from dataclasses import field, replace

import pytest

from mesh.values import value


@value
class Point:
    """A value."""

    x: int
    y: int = 0
    note: str = field(default="", compare=False)


def test_values_with_equal_fields_are_equal_and_have_one_hash():
    assert Point(1, 2) == Point(1, 2, "seen")
    assert Point(1, 2) != Point(2, 1)
    assert len({Point(1), Point(1, 0), Point(1, 1)}) == 2


def test_a_value_has_its_fields_and_no_room_for_others():
    point = Point(1)
    with pytest.raises(AttributeError):
        point.z = 3
    assert not hasattr(point, "__dict__")


def test_a_changed_value_is_another_one():
    point = Point(1, 2)
    assert (replace(point, y=5), point) == (Point(1, 5), Point(1, 2))


def test_values_can_be_matched_by_position():
    match Point(3, 4):
        case Point(3, y):
            assert y == 4
        case _:
            raise AssertionError
