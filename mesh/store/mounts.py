"""Tells on which kind of file system a directory lies; SQLite's WAL is unsafe on network ones."""

import re
from pathlib import Path
from typing import Final

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "drvfs", "afs", "ceph", "lustre"),
        *("ncpfs", "coda", "gfs2", "ocfs2", "gpfs", "beegfs", "fuse.sshfs", "fuse.rclone"),
        *("fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph", "fuse.smbnetfs", "davfs"),
        *("fuse.davfs", "fuse.davfs2", "fuse.curlftpfs", "fuse.cephfs", "glusterfs", "fuse.nfs"),
    }
)
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def network_file_system(path: Path, *, mountinfo: Path = _MOUNTINFO) -> str | None:
    """Return the type of the network file system that holds `path`, None if it is a local one.

    Answers None as well where the system does not tell (other systems than Linux).
    """
    try:
        table = mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = _kind_of(path.resolve(), table)
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _kind_of(path: Path, table: str) -> str:
    """Find the deepest mount above `path`; of two at one place the later one covers the other."""
    best, depth = "", -1
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields, types = left.split(" "), right.split(" ")
        if len(fields) < 5 or not types[0]:
            continue
        mount = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if len(mount.parts) >= depth and path.is_relative_to(mount):
            best, depth = types[0], len(mount.parts)
    return best
