"""New values for recorded identities: what a slot becomes in a cluster, a team, a day and an incident.

Every value is a pure function of the seed and of where it stands, so that two runs agree without exchanging anything. Values
keep the class of what they replace (a private address stays private, a suffix keeps its length), because detection reads classes.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json

from audit_lab.simulate.identities import SAFE, Identities
from audit_lab.simulate.recording import SEPARATOR

MAX_TEAMS = 128
_PEOPLE = (
    "aino akira amara anouk arvid asha bela bruna caleb chiara dario dilan edda elif emil esra fabio farah finn freya gaia gideon hana "
    "hugo ida ilya imani ines ivo jana joon kaito kamil kenji lars leila lior luca maia malik mina miro nadia nils noor odile omar otto "
    "paolo pilar quim rania rasmus rosa ruben sana selma sora suri tariq teo thea tomas uma vera viggo wanda xenia yara yuna zane"
)
_THINGS = (
    "agate alder amber arnica aspen basil beryl birch borage briar cedar chalk citron clover cobalt coral cypress dahlia elm fennel fern "
    "flint garnet gorse granite hazel heath holly indigo iris ivy jade jasper juniper kelp larch laurel lichen lilac linden lotus maple "
    "marble mica mint myrtle nettle oak ochre olive onyx opal orchid pearl pine poplar quartz rowan ruby sage sedge slate sorrel spruce "
    "talc teak thistle thyme topaz tulip umber violet willow yarrow yew zircon"
)
WORDS = {"person": tuple(_PEOPLE.split(" ")), "": tuple(_THINGS.split(" "))}
_PREFIX = {"account": "sa-", "group": "group-", "node": "node-", "workload": "app-"}
# What stands for the internet: the ranges for documentation (RFC 5737), which Audit Lab counts as public.
_PUBLIC = tuple(ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))

# Private ranges within which an address may move: never out of its /16, or of 10.0.0.0/8.
_PRIVATE = tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def digest(*parts: object, size: int = 16) -> bytes:
    """Return `size` bytes that depend on all parts: the one source of chance here that is not a stream."""
    return hashlib.blake2b(SEPARATOR.join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=size).digest()


def uuid(raw: bytes) -> str:
    """Write 16 bytes as a version 4 UUID.

    >>> uuid(bytes(16))
    '00000000-0000-4000-8000-000000000000'
    """
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[raw[8] & 3]}{text[17:20]}-{text[20:]}"


class TeamNames(dict[int, str]):
    """Slot -> value for one team of one cluster; filled as slots are asked for.

    Slots that belong to what a cluster has once (`Identities.shared`) are asked of team 0.
    """

    def __init__(self, identities: Identities, seed: int, cluster: int, team: int, common: TeamNames | None = None) -> None:
        super().__init__()
        self.identities, self.cluster, self.team = identities, cluster, team
        self.common = common
        self._where = (seed, cluster, team)

    def __missing__(self, number: int) -> str:
        slot = self.identities.slots[number]
        if self.common is not None and number in self.identities.shared:
            value = self.common[number]
        elif slot.kind == "ip":
            value = self._address(slot.token)
        elif slot.kind == "uuid":
            value = uuid(digest(*self._where, slot.token))
        elif slot.kind == "suffix":
            value = suffix(digest(*self._where, slot.token), len(slot.token))
        elif slot.kind == "csr":
            parts = [self.identities.split(name) for name in slot.token.split(SEPARATOR)]
            value = request_text(["".join(part if isinstance(part, str) else self[part] for part in name) for name in parts])
        elif slot.kind in ("agent", "time"):
            value = slot.token
        else:
            value = self._name(slot.kind, slot.token)
        self[number] = json_text(value)
        return self[number]

    def _name(self, kind: str, token: str) -> str:
        words = WORDS.get(kind, WORDS[""])
        position, count = self.identities.positions[token]
        index = (self.cluster * MAX_TEAMS + self.team) * count + position
        # Neighbouring numbers give distinct words; when the words run out, a number makes the name unique.
        turn, place = divmod(index, len(words))
        offset = int.from_bytes(digest(self._where[0], kind, size=4), "big")
        return f"{_PREFIX.get(kind, '')}{words[(place * 7 + offset) % len(words)]}{turn + 1 if turn else ''}"

    def _address(self, token: str) -> str:
        address = ipaddress.IPv4Address(token)
        # Addresses with a meaning of their own (loopback, metadata service, any, broadcast) are the same everywhere.
        if address.is_loopback or address.is_link_local or address.is_multicast or address.is_reserved or address.is_unspecified:
            return token
        if any(address in network for network in _PRIVATE):
            first, second, third, fourth = address.packed
            if first == 10:
                second = (second + 1 + self.cluster * 37) % 256
            low = (third * 256 + fourth + self.team * 2909) % 65536
            return f"{first}.{second}.{low >> 8}.{low & 255}"
        if address.is_private and not any(address in network for network in _PUBLIC):
            return token
        return public_address(*self._where, token)


class DayNames(dict[int, str]):
    """Slot -> value for one team on one day: pods and objects are made anew, all else is the team's."""

    def __init__(self, names: TeamNames, seed: int, day: int) -> None:
        super().__init__()
        self.names = names
        self._where = (seed, names.cluster, names.team, day)
        self._common = (seed, names.cluster, 0, day)

    def __missing__(self, number: int) -> str:
        identities = self.names.identities
        slot = identities.slots[number]
        where = self._common if number in identities.shared else self._where
        if slot.kind == "uuid" and number not in identities.lasting:
            self[number] = uuid(digest(*where, slot.token))
        elif slot.kind == "suffix":
            self[number] = suffix(digest(*where, slot.token), len(slot.token))
        else:
            self[number] = self.names[number]
        return self[number]


class IncidentNames(dict[int, str]):
    """Slot -> value inside of one incident: each attacker comes from an address of its own."""

    def __init__(self, names: DayNames, key: str) -> None:
        super().__init__()
        self.names, self.key = names, key

    def __missing__(self, number: int) -> str:
        slot = self.names.names.identities.slots[number]
        outside = slot.kind == "ip" and any(ipaddress.IPv4Address(slot.token) in network for network in _PUBLIC)
        self[number] = public_address(self.key, slot.token) if outside else self.names[number]
        return self[number]


class Names:
    """All names of a simulation, by cluster, team and day. Old days are forgotten: memory does not grow with their number."""

    def __init__(self, identities: Identities, seed: int) -> None:
        self.identities, self.seed = identities, seed
        self._teams: dict[tuple[int, int], TeamNames] = {}
        self._days: dict[tuple[int, int], DayNames] = {}
        self._day = -1

    def of_day(self, cluster: int, team: int, day: int) -> DayNames:
        """Return the names of a team on a day."""
        if day != self._day:
            self._days, self._day = {}, day
        if (cluster, team) not in self._days:
            self._days[cluster, team] = DayNames(self.of_team(cluster, team), self.seed, day)
        return self._days[cluster, team]

    def of_team(self, cluster: int, team: int) -> TeamNames:
        """Return the lasting names of a team."""
        if (cluster, team) not in self._teams:
            common = self.of_team(cluster, 0) if team else None
            self._teams[cluster, team] = TeamNames(self.identities, self.seed, cluster, team, common)
        return self._teams[cluster, team]

    def text(self, names: dict[int, str], text: str) -> str:
        """Return a recorded text with its slots filled."""
        return "".join(part if isinstance(part, str) else names[part] for part in self.identities.split(text))


def public_address(*parts: object) -> str:
    """Return an address of the documentation ranges that depends on all parts."""
    number = int.from_bytes(digest(*parts, size=8), "big")
    return str(_PUBLIC[number % 3][1 + (number // 3) % 254])


def suffix(raw: bytes, length: int) -> str:
    """Return a generated suffix as Kubernetes writes it.

    >>> suffix(bytes(16), 5)
    'bbbbb'
    """
    return "".join(SAFE[byte % len(SAFE)] for byte in raw[:length])


def json_text(text: str) -> str:
    """Return a text as it stands between the quotes of a JSON string, escaped as the API server does.

    >>> print(json_text('a"b<c>&'))
    a\\"b\\u003cc\\u003e\\u0026
    """
    return json.dumps(text, ensure_ascii=False)[1:-1].translate(_HTML)


def request_text(names: list[str]) -> str:
    """Return a base64 PEM signing request that holds a subject (common name, then organizations) and no key.

    Structure: RFC 2986, with only version and subject filled.
    """

    def block(tag: int, content: bytes) -> bytes:
        size = len(content)
        length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else bytes([0x82, size >> 8, size & 255])
        return bytes([tag]) + length + content

    subject = b"".join(
        block(0x31, block(0x30, b"\x06\x03\x55\x04" + (b"\x03" if place == 0 else b"\x0a") + block(0x0C, name.encode()[:100])))
        for place, name in enumerate(names)
    )
    request = block(0x30, block(0x30, block(0x02, b"\x00") + block(0x30, subject)))
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(request).decode()}\n-----END CERTIFICATE REQUEST-----\n"
    return base64.b64encode(pem.encode()).decode()
