"""The other driver: the very same core on a virtual clock, a virtual network and seeded faults."""
