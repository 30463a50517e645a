"""Transports and discovery sources: the only package that speaks ZeroMQ and multicast DNS."""
