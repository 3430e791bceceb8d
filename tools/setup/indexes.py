"""Gives uv the package index that pip is told to use, so that a mirror is set up in one place."""

from __future__ import annotations

import ast
from collections.abc import Mapping

# What `pip config list` calls a setting, and the variable that tells uv the same.
SAME_SETTING = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def uv_environment(environ: Mapping[str, str], pip_config: str) -> dict[str, str]:
    """``environ`` with pip's settings added for uv; what the user set for uv itself wins.

    ``pip_config`` is the output of ``pip config list``: lines such as ``global.cert='/etc/ssl/ca.pem'``.
    """
    added = {}
    for line in pip_config.splitlines():
        name, separator, quoted = line.partition("=")
        variable = SAME_SETTING.get(name.rpartition(".")[2])
        if separator and variable:
            added[variable] = _unquote(quoted)
    # Certificates of the machine, not those that uv brings: mirrors are often signed by a company's own.
    return {"UV_SYSTEM_CERTS": "true", **added, **environ}


def _unquote(quoted: str) -> str:
    try:
        return " ".join(str(ast.literal_eval(quoted)).split())
    except (SyntaxError, ValueError):
        return quoted.strip()
