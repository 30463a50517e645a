"""The examinations of `mesh doctor`, one module for each part of the system."""
