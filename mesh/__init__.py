"""A brokerless mesh through which AI coding sessions talk to each other."""
