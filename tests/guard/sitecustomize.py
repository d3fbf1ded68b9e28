"""Makes it impossible for a test, or for a program that a test starts, to reach anything but this machine.

Python imports a module of this name at its start when it is on the path, so the guard holds in child processes too. An
audit hook cannot be taken out again, and sees every socket of the process, whichever library opens it.
"""

import ipaddress
import sys


def _is_local(host: object) -> bool:
    name = host.decode("latin-1") if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def _refuse_the_internet(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        # The name of a Unix socket is a path, which stays on this machine.
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    if not _is_local(host):
        raise ConnectionRefusedError(f"a test tried to reach {host!r}: tests talk to this machine alone")


sys.addaudithook(_refuse_the_internet)
