"""What kind of disk a file is on, which differs between systems. Tested on Linux only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_on_network"]

_NETWORK = {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3"}
"""File systems on other computers, as Linux names them."""

_MOUNTS = Path("/proc/self/mountinfo")


def is_on_network(path: Path, mounts: str | None = None) -> bool:
    """True if a file is known to be on the disk of another computer.

    Args:
        path: The file, or a folder.
        mounts: What is mounted, as Linux lists it in ``/proc/self/mountinfo``; by default what this computer has.
    """
    if str(path).startswith(("\\\\", "//")):
        return True
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    place = path.resolve()
    # The last mount at the longest place is the one that shows.
    found, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mounted = Path(fields[4].encode().decode("unicode_escape", errors="replace"))
        if place.is_relative_to(mounted) and len(mounted.parts) >= found:
            found, kind = len(mounted.parts), after.split()[0]
    return kind in _NETWORK
