"""Whom the storage SDK trusts over https."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

SDK_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # the SDK's HTTP library reads them itself


def trusted_authorities(environment: Mapping[str, str] = os.environ) -> str | bool:
    """A file of authorities for the SDK: the system's, or that of ``SSL_CERT_FILE``, since its own
    list has no authority that was added to this machine. True: what it would take by itself."""
    if any(environment.get(name) for name in SDK_VARIABLES):
        return True
    return ssl.get_default_verify_paths().cafile or True
