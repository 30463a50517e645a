"""Keeps mailboxes on disk: the state directory, locks, keys and the database of each mailbox."""
