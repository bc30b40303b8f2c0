"""What a context of the kubeconfig means for a connection, by kubectl's rules.

Of a user: ``tokenFile`` comes before ``token``, ``…-data`` before the file; a token and a password
together are refused, and so is a plugin beside a former auth-provider. A certificate may come with
any of them. Of a cluster: ``insecure-skip-tls-verify`` beside an authority is refused.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tfnz_notebook._base import contexts
from tfnz_notebook._base.contexts import Context, text
from tfnz_notebook.engines.kubernetes.login.credentials import (
    Cluster,
    Credentials,
    Material,
    Static,
)
from tfnz_notebook.engines.kubernetes.login.plugin import Plugin, command
from tfnz_notebook.errors import NoEngine

log = logging.getLogger(__name__)

#: How users of auth-providers, which Kubernetes gave up in 1.26, log in now.
_PROVIDERS: Final = {
    "gcp": "Install gke-gcloud-auth-plugin and run "
    "'gcloud container clusters get-credentials' again.",
    "azure": "Install kubelogin and run 'kubelogin convert-kubeconfig'.",
    "oidc": "Log in by a plugin for OpenID Connect ('kubectl oidc-login' is one), or put an id "
    "token into 'tokenFile'.",
}


def load(where: str, environ: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster that a location's name means. Raises Misuse, NoEngine."""
    return cluster(contexts.find(where, environ), environ)


def cluster(context: Context, environ: Mapping[str, str] = os.environ) -> Cluster:
    """What a context says, checked. Raises NoEngine."""
    said, home = context.cluster.said, context.cluster.home
    if not context.server:
        raise _refused(context, "its cluster has no 'server'")
    insecure = _yes(said.get("insecure-skip-tls-verify"))
    authority = _material(context, said, home, "certificate-authority")
    if insecure and authority:
        raise _refused(
            context, "it names an authority to trust, and 'insecure-skip-tls-verify' to trust all"
        )
    if insecure:
        log.warning(
            "the context %r says insecure-skip-tls-verify: whoever stands between here and %s can "
            "read and change everything, and act as you",
            context.name,
            context.server,
        )
    return Cluster(
        name=context.name,
        server=context.server,
        namespace=context.namespace,
        authority=authority,
        insecure=insecure,
        server_name=text(said.get("tls-server-name")),
        proxy=text(said.get("proxy-url")),
        credentials=_credentials(context, environ),
        impersonation=_impersonation(context),
        pod=context.pod,
    )


def _credentials(context: Context, environ: Mapping[str, str]) -> Credentials:
    said, home = context.user.said, context.user.home
    provider, plugin = said.get("auth-provider"), said.get("exec")
    if provider:
        name = text(provider.get("name")) if isinstance(provider, dict) else ""
        raise _refused(
            context,
            f"its user logs in by the auth-provider {name!r}, which Kubernetes gave up in 1.26",
            _PROVIDERS.get(name, "Get a newer kubeconfig from whoever runs the cluster."),
        )
    certificate = _material(context, said, home, "client-certificate")
    key = _material(context, said, home, "client-key")
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise _refused(context, f"its user has no {missing!r} to the other half")
    token, user = _token(said, home), text(said.get("username"))
    if token and user:
        raise _refused(context, "its user has both a token and a name with a password")
    if plugin and not (token or user or certificate):
        if not context.user.ours:
            raise _refused(
                context,
                f"its user logs in by a plugin, and others could have written "
                f"{str(context.user.file)!r}",
                "Read what it runs; then copy it to a file of your own, mode 0600.",
            )
        return Plugin(command(plugin, context.name, home, context.cluster.said), environ)
    return Static(
        token=token,
        user=user,
        password=text(said.get("password")),
        certificate=certificate,
        key=key,
    )


def _token(said: Mapping[str, Any], home: Path) -> Material:
    if file := text(said.get("tokenFile")):
        return Material(file=home / file)
    return Material(text(said.get("token")).encode())


def _material(context: Context, said: Mapping[str, Any], home: Path, key: str) -> Material:
    """A field in its two forms: text in base64, or a file's name."""
    if data := text(said.get(f"{key}-data")):
        try:
            return Material(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            raise _refused(context, f"its '{key}-data' is no base64") from None
    name = text(said.get(key))
    if not name:
        return Material()
    made = Material(file=home / name)
    try:
        made.read()
    except OSError as error:
        raise _refused(context, f"its {key!r} {str(home / name)!r}: {error.strerror}") from None
    return made


def _impersonation(context: Context) -> tuple[tuple[str, str], ...]:
    said = context.user.said
    pairs = [
        ("Impersonate-User", text(said.get("as"))),
        ("Impersonate-Uid", text(said.get("as-uid"))),
    ]
    groups, extra = said.get("as-groups") or [], said.get("as-user-extra") or {}
    if not isinstance(groups, list) or not isinstance(extra, dict):
        raise _refused(context, "'as-groups' is a list, and 'as-user-extra' a mapping of lists")
    pairs += [("Impersonate-Group", text(each)) for each in groups]
    for key, values in extra.items():
        if not isinstance(values, list):
            raise _refused(context, "'as-user-extra' is a mapping of lists")
        name = f"Impersonate-Extra-{quote(text(key).lower(), safe='')}"
        pairs += [(name, text(each)) for each in values]
    found = tuple(pair for pair in pairs if pair[1])
    if found and not pairs[0][1]:
        raise _refused(context, "it says of whom it acts as the groups, and no 'as'")
    for _, value in found:
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise _refused(context, f"{value!r}, to act as, fits no header")
    return found


def _yes(value: object) -> bool:
    return value is True or text(value).lower() == "true"


def _refused(context: Context, cause: str, remedy: str = "Correct the kubeconfig.") -> NoEngine:
    return NoEngine(f"Cannot use the context {context.name!r}: {cause}. {remedy}")
