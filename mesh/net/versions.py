"""Which libraries this layer runs on, for diagnosis."""

import zeroconf
import zmq


def library_versions() -> dict[str, str]:
    """Return versions by name: `pyzmq`, `libzmq`, `zeroconf`."""
    return {
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
        "zeroconf": zeroconf.__version__,
    }


def has_curve() -> bool:
    """Whether this build of libzmq can encrypt links; without it no node starts."""
    return bool(zmq.has("curve"))
