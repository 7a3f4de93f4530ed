"""Which addresses only this machine reaches."""

import ipaddress


def loopback(host: str) -> bool:
    """Whether a host is this machine alone.

    Args:
        host: An address or a name.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
