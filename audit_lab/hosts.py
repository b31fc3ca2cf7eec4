"""Where a host stands, as far as its name tells: in the house, or out on the internet."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

# RFC 1122 (loopback), RFC 1918 (private), RFC 3927 and 4291 (link-local), RFC 4193 (unique local). Not what Python calls private
# besides: ranges for documentation and benchmarks belong to nobody's house.
_INSIDE = tuple(ipaddress.ip_network(text) for text in (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
))
# Suffixes that no public registry gives out: ICANN's .internal, multicast DNS, services of a cluster, RFC 6761's localhost.
_SUFFIXES = (".internal", ".local", ".svc", ".localhost")
# One number is an address in another spelling (http://2130706433/), not a name.
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


def stands_inside(url: str) -> bool:
    """Tell whether the host of a URL is on this machine or in a private network by its name alone; False where there is none.

    >>> [stands_inside(f"http://{host}/v1") for host in ("localhost", "10.1.2.3", "llm", "llm.internal", "vllm.ml.svc.cluster.local")]
    [True, True, True, True, True]
    >>> [stands_inside(f"https://{host}/v1") for host in ("api.example.com", "8.8.8.8", "134744072", "llm.internal.example.com")]
    [False, False, False, False]
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host) and (host.endswith(_SUFFIXES) or ("." not in host and not _NUMBER.fullmatch(host)))
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _INSIDE if network.version == address.version)
