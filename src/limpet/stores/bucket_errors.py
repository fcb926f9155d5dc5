"""What a bucket's client raised means: in words, which setting to look at, and never a secret.

Servers repeat access keys and what was signed in their answers, so no answer is passed on: only its
code, which S3 and Azure give as XML and Google as JSON.
"""

import re
from typing import Final, NamedTuple

from limpet.errors import StoreUnavailableError


class _Meaning(NamedTuple):
    """What a code means, and what to do about it."""

    what: str
    hint: str


_NO_BUCKET: Final = _Meaning(
    "there is no such bucket", "Make it, or correct SANDBOX_SNAPSHOTS_BUCKET (its name or region)."
)
_CREDENTIALS: Final = _Meaning(
    "it does not accept the credentials",
    "Look at the access key and secret, or at the role, that this process is given.",
)
_CLOCK: Final = _Meaning(
    "this machine's clock is wrong", "Set the clock (NTP): stores refuse what is off by minutes."
)
_REGION: Final = _Meaning(
    "the bucket is in another region", "Set SANDBOX_SNAPSHOTS_REGION to the bucket's region."
)
_DENIED: Final = _Meaning(
    "it is not allowed", "`limpet doctor --store` says which permission is missing."
)
_BUSY: Final = _Meaning("it is overloaded", "Nothing is lost. Try again later.")
_CUT_OFF: Final = _Meaning("its answer was cut off", "Nothing is lost. Try again.")
_UNREACHABLE: Final = _Meaning(
    "it does not answer",
    "Look at the network, and at SANDBOX_SNAPSHOTS_ENDPOINT if it is set: a server that has no"
    " host name for each bucket wants SANDBOX_SNAPSHOTS_FORCE_PATH_STYLE=1.",
)
_NO_CREDENTIALS: Final = "no credentials were found"
_GIVE: Final = {
    "Generic S3 error": "Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role (web identity,"
    " instance).",
    "Generic GCS error": "Let GOOGLE_APPLICATION_CREDENTIALS name a service account's key file, or"
    " give the machine a service account.",
    "Generic MicrosoftAzure error": "Give AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY,"
    " or a managed identity.",
}
"""By how an error of each cloud begins."""
_ROLE_REFUSED: Final = _Meaning(
    "the token service (STS) gives no credentials for the role",
    "Look at AWS_ROLE_ARN, at whom that role trusts, and at the token in"
    " AWS_WEB_IDENTITY_TOKEN_FILE.",
)
_NO_TOKEN_SERVICE: Final = _Meaning(
    "the token service (STS) does not answer",
    "Look at the network, and at AWS_ENDPOINT_URL_STS if it is set.",
)
_NO_TOKEN: Final = _Meaning(
    "the web identity's token cannot be read",
    "AWS_WEB_IDENTITY_TOKEN_FILE must name a file that this process can read.",
)
_BY_CODE: Final = {
    "NoSuchBucket": _NO_BUCKET,
    "ContainerNotFound": _NO_BUCKET,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "TokenRefreshRequired": _CREDENTIALS,
    "AuthenticationFailed": _CREDENTIALS,
    "InvalidAuthenticationInfo": _CREDENTIALS,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "ServerBusy": _BUSY,
    "TooManyRequests": _BUSY,
}
_BY_STATUS: Final = {
    "301": _REGION, "307": _REGION, "401": _CREDENTIALS, "403": _DENIED, "429": _BUSY, "503": _BUSY,
}  # fmt: skip
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>|\"reason\":\s*\"([A-Za-z]{1,64})\"")
_STATUS: Final = re.compile(r"status code: (\d{3})\b")
_ASKED_FOR_A_ROLE: Final = re.compile(
    r"performing [A-Z]+ https?://[^/\s]+/(latest/(api/token|meta-data)|metadata/identity|computeMeta)"
)
_ASKED_TOKEN_SERVICE: Final = re.compile(r"Generic S3 error: Error performing POST REDACTED ")
"""Of S3's requests only that for a role's credentials is a secret as a whole."""
_TOKEN_UNREAD: Final = "Generic S3 error: Failed to read token file"  # noqa: S105 (no password)
_BEYOND: Final = "S3 error: Wanted range starting at "
"""obstore's word for a server that answers such a range with the whole object."""
_NO_LOCATION: Final = "redirect without LOCATION"
"""What a bucket of another region may answer, and obstore's word for it."""


def store_error(error: Exception | None, doing: str, where: str) -> StoreUnavailableError:
    """The error to raise when something could not be done in the store at `where`.

    `error` is what the client raised; None when the store's answer ended too early.
    """
    meaning, detail = (_CUT_OFF, "") if error is None else _meaning(str(error))
    told = f" ({detail})" if detail else ""
    return StoreUnavailableError(
        f"The store {where} could not {doing}: {meaning.what}{told}", hint=meaning.hint
    )


def is_out_of_range(error: Exception) -> bool:
    """Whether a range was asked for that begins at or beyond the object's end."""
    text = str(error)
    return _status(text) == "416" or _BEYOND in text


def is_not_implemented(error: Exception) -> bool:
    """Whether the store says that it cannot do what a header of the request asks for."""
    return _status(str(error)) == "501" or _code(str(error)) == "NotImplemented"


def is_no_bucket(error: Exception) -> bool:
    """Whether the store says that the bucket, not the object, is missing."""
    return _BY_CODE.get(_code(str(error))) is _NO_BUCKET


def _code(text: str) -> str:
    return next((one or other for one, other in _CODE.findall(text)), "")


def _status(text: str) -> str:
    return next(iter(_STATUS.findall(text)), "")


def _meaning(text: str) -> tuple[_Meaning, str]:
    code, status = _code(text), _status(text)
    if _ASKED_FOR_A_ROLE.search(text):
        return _Meaning(_NO_CREDENTIALS, _GIVE.get(text.partition(":")[0], "")), ""
    if _ASKED_TOKEN_SERVICE.search(text):
        if status.startswith("4"):
            return _ROLE_REFUSED, f"HTTP {status} {code}".strip()
        return _NO_TOKEN_SERVICE, f"HTTP {status}" if status else ""
    if text.startswith(_TOKEN_UNREAD):
        return _NO_TOKEN, ""
    if _NO_LOCATION in text:
        return _REGION, ""
    if code in _BY_CODE:
        return _BY_CODE[code], code
    if status in _BY_STATUS:
        return _BY_STATUS[status], f"HTTP {status}"
    if status:
        detail = f"HTTP {status} {code}".strip()
        return _Meaning("it answers with an error", "Nothing is lost. Try again."), detail
    return _UNREACHABLE, ""
