"""Runs the core on asyncio, real sockets and real disks."""
