"""What names a secret and what looks like one: the words and patterns that all of the audit trail's redaction shares.

Sources: contract, auth-and-rbac §5.4, and beyond it the names under which clouds, shells and browsers carry secrets.
Every pattern runs in linear time, since whoever sends a request chooses the text.
"""

import re

REDACTED = "[redacted]"

_WORDS = (
    *(
        "token",
        "passw",
        "pwd",
        "secret",
        "kubeconfig",
        "credential",
        "csrf",
        "apikey",
        "accesskey",
        "privatekey",
    ),
    *("passphrase", "authorization", "cookie", "bearer", "signature"),
)
_WHOLE = frozenset(
    {"code", "sig", "auth", "jwt", "otp", "assertion", "samlrequest", "samlresponse", "relaystate"}
)
_WORD = r"""(?:token|passw(?:or)?d|pwd|secret|kubeconfig|credential|passphrase|(?:api|access|private|client)[_-]?key)"""
_OWN = r"[bcdfghjklmnpqrstvwxz2456789]{54}"
_JWT = r"(?<![\w-])eyJ[\w-]{8,4000}\.[\w-]{8}"
_FLAG = re.compile(rf"(?i)-{{1,2}}[\w-]{{0,40}}{_WORD}s?")
_LOOKS = re.compile(
    rf"(?i){_WORD}[\w.-]{{0,40}}[\"']?\s{{0,8}}[:=]\s{{0,8}}[\"']?[^\s\"'&=]"
    r"|\b(?:bearer|basic)\s{1,4}[\w.+/~:-]{6}"
    r"|://[^/\s:@]{1,100}:[^/\s@]{1,200}@"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY"
    # the same in base64: PKCS #8, RSA, EC
    r"|LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFU|BFQyBQUklWQVRF)"
    rf"|{_JWT}|{_OWN}"
)
_SEGMENT = re.compile(rf"(?i){_WORD}[\w.-]{{0,40}}=.|^[^:@]{{1,100}}:[^@]{{1,200}}@|{_JWT}|{_OWN}")
_HINT = re.compile(
    # literals in lower case only: such a pattern skips most positions at once
    "token|passw|pwd|secret|kubeconfig|credential|csrf|api-?key|api_key|access-?key|access_key|private|passphrase"
    "|authorization|cookie|bearer|basic|signature|x-amz|x_amz|xamz|://|eyj"
    "|&code|&sig|&auth|&jwt|&otp|&assertion|&saml|&relay"
)
_RUN = re.compile(_OWN)


def is_secret_name(name: str) -> bool:
    """Whether a parameter, a header or a variable of this name holds a secret."""
    bare = name.lower().replace("_", "").replace("-", "")
    return is_secret_word(name) or bare.startswith("xamz") or bare in _WHOLE


def is_exchanged(name: str, value: object) -> bool:
    """Whether a member holds what is exchanged for a session: the code of OAuth, the response of SAML, …

    An error has a `code`, too, which is a number or a word.
    """
    lower = name.lower().replace("_", "")
    return lower in _WHOLE and isinstance(value, str) and not (lower == "code" and value.isalpha())


def is_secret_word(name: str) -> bool:
    """Whether a name says in so many words that it is a secret's."""
    bare = name.lower().replace("_", "").replace("-", "")
    return any(word in bare for word in _WORDS)


def is_secret_flag(argument: str) -> bool:
    """Whether a command line's next argument is a secret: `--token`, `-password`, …"""
    return _FLAG.fullmatch(argument) is not None


def looks_secret(text: str) -> bool:
    """Whether a text holds an assignment to a secret name, a credential, a private key or a secret of ours."""
    if len(text) < 54 and not _is_telling(text):
        return False  # most names, words and ids
    return _LOOKS.search(text) is not None


def _is_telling(text: str) -> bool:
    return any(sign in text for sign in (":", "=", " ", "\t", "\n", "eyJ"))


def is_secret_segment(segment: str) -> bool:
    """Whether a segment of a path holds a secret; names such as `token-reviewer:8080` do not."""
    return _SEGMENT.search(segment) is not None


def may_hold_secret(query: str) -> bool:
    """Whether a query, without percent-encoding, is worth taking apart."""
    return _HINT.search(f"&{query}".lower()) is not None or (
        len(query) > 53 and _RUN.search(query) is not None
    )
