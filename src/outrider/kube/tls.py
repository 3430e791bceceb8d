"""The TLS side of a ClusterAccess."""

import os
import re
import ssl
import tempfile

from outrider.kube.kubeconfig import ClusterAccess

# Bundles often carry comments between their certificates, in any encoding.
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def client_context(cluster: ClusterAccess) -> ssl.SSLContext:
    """Return a context that trusts the cluster's authority and presents its client certificate, if any.

    TLS 1.2 is the least. Raises ValueError when a PEM value cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        if cluster.ca_pem:
            certificates = b"\n".join(_CERTIFICATE.findall(cluster.ca_pem))
            context.load_verify_locations(cadata=certificates.decode())
        else:
            context.load_default_certs()
    except (ssl.SSLError, ValueError):
        raise ValueError(f"the certificate authority for {cluster.server} is not PEM") from None
    if cluster.client_cert_pem:
        _load_identity(context, cluster)
    return context


def _load_identity(context: ssl.SSLContext, cluster: ClusterAccess) -> None:
    # The ssl module only reads files: an anonymous one in memory never touches a disk.
    with _anonymous_file() as file:
        file.write(cluster.client_cert_pem + b"\n" + cluster.client_key_pem)
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_password)
        except (ssl.SSLError, OSError, ValueError):
            raise ValueError(f"the client certificate or key for {cluster.server} cannot be used") from None


def _anonymous_file() -> "tempfile._TemporaryFileWrapper[bytes]":
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("client-identity", os.MFD_CLOEXEC), "w+b")  # type: ignore[return-value]
    return tempfile.NamedTemporaryFile("w+b")


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ValueError("the key is encrypted")
