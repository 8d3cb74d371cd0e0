"""Cross-origin requests: what rules allow, and the headers that tell a browser so. Pure.

Source: REST "Cross-Origin Resource Sharing (CORS) support for Azure Storage".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lote.storage.errors import Refused

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RULES_MAX = 5
ORIGINS_MAX = 64
NAME_MAX = 256
METHODS = frozenset({"DELETE", "GET", "HEAD", "MERGE", "OPTIONS", "PATCH", "POST", "PUT"})


class Rule(NamedTuple):
    """Who may ask for what. Origins and headers may have a ``*``; ``max_age_s``: how long a
    browser may rely on it. Header names in lower case, ``exposed`` as they were spelled."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age_s: int

    @property
    def is_open(self) -> bool:
        """Whether every origin may ask."""
        return "*" in self.origins

    def allows(self, origin: str, method: str) -> bool:
        """Whether this origin may ask with this method."""
        return method in self.methods and any(fits(one, origin) for one in self.origins)


def parse_rules(cors: Element | None) -> tuple[Rule, ...]:
    """The rules of an account. Refuses: InvalidXmlDocument, InvalidXmlNodeValue."""
    rules = tuple(_rule(one) for one in cors) if cors is not None else ()
    if len(rules) > RULES_MAX:
        raise Refused("InvalidXmlDocument")
    return rules


def _rule(one: Element) -> Rule:
    fields = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposedHeaders")
    lists = [one.find(name) for name in fields]
    age = one.findtext("MaxAgeInSeconds", "").strip()
    if one.tag != "CorsRule" or any(found is None for found in lists):
        raise Refused("InvalidXmlDocument")
    origins, methods, headers, exposed = (
        tuple(filter(None, map(str.strip, (found.text or "").split(","))))
        for found in lists
        if found is not None
    )
    if not origins or not methods or not age.isdecimal() or not METHODS.issuperset(methods):
        raise Refused("InvalidXmlNodeValue")
    if len(origins) > ORIGINS_MAX or any(len(name) > NAME_MAX for name in (*origins, *headers)):
        raise Refused("InvalidXmlNodeValue")
    low = tuple(map(str.lower, headers))
    return Rule(origins, methods, low, exposed, int(age))


def fits(pattern: str, name: str) -> bool:
    """Whether a name is meant by a pattern with at most one ``*``; case does not count."""
    before, star, after = pattern.lower().partition("*")
    low = name.lower()
    if not star:
        return low == before
    if not low.startswith(before) or not low.endswith(after):
        return False
    return len(low) >= len(before) + len(after)


def preflight_headers(rules: Sequence[Rule], sent: Mapping[str, str]) -> dict[str, str]:
    """What a browser's question before a request is answered with.

    Refuses: InvalidHeaderValue without origin or method, CorsPreflightFailure when no rule allows
    the request.
    """
    origin = sent.get("origin")
    method = sent.get("access-control-request-method")
    if origin is None or method is None:
        missing = "Origin" if origin is None else "Access-Control-Request-Method"
        raise Refused(
            "InvalidHeaderValue",
            "A required CORS header is not present.",
            values={"MessageDetails": f"Invalid required CORS header {missing}"},
        )
    asked = sent.get("access-control-request-headers", "")
    names = [name for name in map(str.strip, asked.split(",")) if name]
    for rule in rules:
        known = all(any(fits(one, name) for one in rule.headers) for name in names)
        if rule.allows(origin, method) and known:
            headers = _origin_headers(rule, origin)
            headers["Access-Control-Allow-Methods"] = method
            if asked:
                headers["Access-Control-Allow-Headers"] = asked
            return headers | {"Access-Control-Max-Age": str(rule.max_age_s)}
    raise Refused("CorsPreflightFailure")


def answer_headers(
    rules: Sequence[Rule], origin: str, method: str, given: Iterable[str]
) -> dict[str, str]:
    """What is added to the answer of a request with an origin; ``given``: the answer's headers."""
    rule = next((one for one in rules if one.allows(origin, method)), None)
    if rule is None:
        return {"Vary": "Origin"} if rules else {}
    headers = _origin_headers(rule, origin)
    exposed = [name for name in rule.exposed if "*" not in name]
    exposed += [
        name
        for name in given
        if any("*" in one and fits(one, name) for one in rule.exposed) and name not in exposed
    ]
    if exposed:
        headers["Access-Control-Expose-Headers"] = ",".join(exposed)
    return headers


def _origin_headers(rule: Rule, origin: str) -> dict[str, str]:
    if rule.is_open:
        return {"Access-Control-Allow-Origin": "*"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
