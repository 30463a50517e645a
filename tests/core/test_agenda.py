"""Deadlines: one for each matter, due in their order."""

from mesh.core.agenda import Agenda


def due(agenda: Agenda[str], now: float) -> list[str]:
    return list(agenda.take_due(now))


def test_an_empty_agenda_is_never_due():
    agenda = Agenda[str]()
    assert agenda.next_deadline() is None
    assert due(agenda, 1e9) == []


def test_matters_come_in_the_order_of_their_deadlines_and_only_once():
    agenda = Agenda[str]()
    agenda.set("late", 3.0)
    agenda.set("early", 1.0)
    agenda.set("same", 1.0)
    assert agenda.next_deadline() == 1.0
    assert due(agenda, 2.0) == ["early", "same"]
    assert due(agenda, 2.0) == []
    assert agenda.next_deadline() == 3.0


def test_a_matter_set_again_is_due_at_its_new_deadline_only():
    agenda = Agenda[str]()
    agenda.set("a", 1.0)
    agenda.set("a", 5.0)
    agenda.set("a", 5.0)
    assert due(agenda, 4.0) == []
    assert agenda.next_deadline() == 5.0
    assert due(agenda, 5.0) == ["a"]
    assert agenda.next_deadline() is None


def test_an_earlier_deadline_replaces_a_later_one_but_not_the_reverse():
    agenda = Agenda[str]()
    agenda.set_earlier("a", 5.0)
    agenda.set_earlier("a", 7.0)
    assert agenda.next_deadline() == 5.0
    agenda.set_earlier("a", 2.0)
    assert agenda.next_deadline() == 2.0


def test_a_dropped_matter_is_forgotten_and_dropping_it_again_is_harmless():
    agenda = Agenda[str]()
    agenda.set("a", 1.0)
    agenda.drop("a")
    agenda.drop("a")
    assert agenda.next_deadline() is None
    agenda.set("a", 1.0)
    assert due(agenda, 1.0) == ["a"]
    assert due(agenda, 1.0) == []
