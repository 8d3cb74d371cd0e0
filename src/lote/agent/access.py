"""What tasks with a token need to reach the service: its https address, and whom to trust there."""

from __future__ import annotations

import os

from lote.agent.layout import Layout

SYSTEM_BUNDLES = (  # Debian and its kin; Red Hat and its kin
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
BUNDLE_NAME = "volatile/service-ca.pem"  # tasks read it, and may not write there


def access_variables(layout: Layout, secure: tuple[str, str] | None) -> dict[str, str]:
    """Variables over those of other tasks: the https URL of the account, and a file of the
    system's authorities and the service's own, for the clients that look for one."""
    if secure is None:
        return {}
    url, authority = secure
    bundle = f"{layout.root}/{BUNDLE_NAME}"
    temporary = f"{bundle}.new"
    with open(temporary, "wb") as target:
        target.write(_system_authorities() + b"\n" + authority.encode())
    os.chmod(temporary, 0o644)
    os.replace(temporary, bundle)
    return {
        "AZ_BATCH_ACCOUNT_URL": url,
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
    }


def _system_authorities() -> bytes:
    for path in (os.environ.get("SSL_CERT_FILE"), *SYSTEM_BUNDLES):
        if path and os.path.exists(path):
            with open(path, "rb") as source:
                return source.read()
    return b""
