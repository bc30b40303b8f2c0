"""Contexts for TLS, of certificates that are text, and no file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


def context(
    authority: bytes = b"",
    certificate: tuple[bytes, bytes] | None = None,
    *,
    insecure: bool = False,
) -> ssl.SSLContext:
    """For a client. ``authority``: PEM of whom it trusts (empty: whom the system does).

    ``certificate``: PEM of its own, and of its key. ``insecure``: it trusts anybody. Raises
    SSLError or ValueError for what is no PEM, or no pair.
    """
    made = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    # As Go has it, which made these certificates: any that is named is trusted, not only one that
    # signed itself; and RFC 5280 by the letter, Python's choice since 3.13, would refuse the
    # authorities of many a cluster (no key identifier, a constraint that is not marked critical).
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.set_alpn_protocols(["http/1.1"])
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        with _unnamed(certificate[0]) as chain, _unnamed(certificate[1]) as key:
            # A key that is encrypted is refused: OpenSSL would ask for its password at a terminal.
            made.load_cert_chain(chain, key, password=_refuse)
    return made


@contextmanager
def _unnamed(data: bytes) -> Iterator[str]:
    """A file of memory, for OpenSSL, which reads keys from files alone: nothing is left behind."""
    number = os.memfd_create("tfnz-pem", os.MFD_CLOEXEC)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{number}"


def _refuse() -> str:
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")
