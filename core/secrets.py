"""What must not be passed on: native options that are not known to be harmless, credentials in addresses.

Results, rows, manifests, reports and messages are shown and sent to others. A backend knows its own options, so it says
which of them anybody may see (`cvxrobust.core.contracts.backend.ShowsOptions`); what nobody vouches for is masked.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from cvxrobust.core.strangers import visible

MASK = "***"
"""What is written in place of a secret."""

SECRET = re.compile(r"token|passw|pwd|secret|credential|auth|signature|licen[cs]e|(^|_|api|private|access)key$", re.I)
"""Options with such names are for the solver's eyes only, whatever a backend says of them."""

SHORT = 6
"""Characters below which a secret may also be a part of a word, which then stays as it is."""

# A path that was an address has one slash left; a drive's letter is no scheme.
_LOGIN = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})[^\s/?#\"'<>]*@")
_QUERY = re.compile(r"([?&;#][\w.-]*(?:token|passw|pwd|secret|credential|auth|key|sig)[\w.-]*=)[^\s&;#\"'<>]+", re.I)


def is_shown(name: str, harmless: Collection[str]) -> bool:
    """Whether an option of that name may be shown."""
    return name in harmless and not SECRET.search(name)


def masked(options: Mapping[str, Any], harmless: Collection[str]) -> dict[str, Any]:
    """Options ready to be shown: those that are not harmless are masked, addresses lose their credentials."""
    return {
        name: without_credentials(value) if is_shown(str(name), harmless) else MASK for name, value in options.items()
    }


def masked_by_name(value: Any) -> Any:
    """The same with what has a secret's name masked, in mappings however deep."""
    if isinstance(value, Mapping):
        return {name: MASK if SECRET.search(str(name)) else masked_by_name(item) for name, item in value.items()}
    return [masked_by_name(item) for item in value] if isinstance(value, list | tuple) else value


def secrets_of(options: Mapping[str, Any], harmless: Collection[str]) -> tuple[str, ...]:
    """Texts that no message may repeat, longest first: the values of options that are not harmless.

    A number is one only where its name says so: nobody could read a message without its ones and zeros.
    """
    hidden = [
        text
        for name, value in options.items()
        if not is_shown(str(name), harmless)
        for text in _texts(value, numbers=SECRET.search(str(name)) is not None)
    ]
    spelt = {form for text in hidden for form in (text, repr(text)[1:-1], quote(text, safe=""))}
    return tuple(sorted(filter(None, spelt), key=lambda text: (-len(text), text)))


def _texts(value: Any, numbers: bool) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        named = {name: numbers or SECRET.search(str(name)) is not None for name in value}
        return [text for name, item in value.items() for text in _texts(item, named[name])]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in _texts(item, numbers)]
    return [str(value)] if numbers and value is not None and not isinstance(value, bool) else []


def cleaned(value: Any, secrets: Iterable[str] = ()) -> Any:
    """The same with secrets masked and credentials taken out of addresses, in every text within."""
    secrets = tuple(secrets)
    if isinstance(value, str):
        for secret in secrets:
            value = _without(value, secret)
        return without_credentials(value)
    if isinstance(value, Mapping):
        return {without_credentials(name): cleaned(item, secrets) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(cleaned(item, secrets) for item in value)
    return [cleaned(item, secrets) for item in value] if isinstance(value, list) else value


def _without(text: str, secret: str) -> str:
    if len(secret) >= SHORT:
        return text.replace(secret, MASK)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text) if secret in text else text


def without_credentials(value: Any) -> Any:
    """The same, where it is a text, with users, passwords and tokens taken out of its addresses."""
    if not isinstance(value, str) or (":/" not in value and "=" not in value):
        return value
    return _QUERY.sub(rf"\1{MASK}", _LOGIN.sub(rf"\1{MASK}@", value))


def presentable(value: Any) -> Any:
    """A text of others as reports may show it: without credentials, its control characters spelt out."""
    return visible(without_credentials(value)) if isinstance(value, str) else value
