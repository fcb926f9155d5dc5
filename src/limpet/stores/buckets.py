"""Opens the bucket that the settings name.

Credentials come from the environment, as each cloud's own tools find them: keys, web identity
(`AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`), the machine's role;
`GOOGLE_APPLICATION_CREDENTIALS`; `AZURE_STORAGE_*`.
"""

import os
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from limpet.errors import InvalidInputError
from limpet.stores.base import BucketKind
from limpet.stores.objectstore import CLIENT, RETRIES, ObjectStore

if TYPE_CHECKING:
    from limpet.stores.settings import StoreSettings

_SCHEMES: Final[dict[BucketKind, str]] = {"s3": "s3", "gcs": "gs", "azure": "az"}


def open_bucket(settings: "StoreSettings") -> ObjectStore:
    """The store of the settings' bucket; nothing is asked of it yet.

    Raises `InvalidInputError` for what no client can be made of.
    """
    kind, bucket = settings.kind, settings.bucket
    assert bucket is not None
    allow_http = bool(settings.endpoint and settings.endpoint.startswith("http:"))
    how: dict[str, Any] = {
        "prefix": settings.prefix,
        "client_options": {**CLIENT, "allow_http": allow_http},
        "retry_config": RETRIES,
    }
    where = f"{_SCHEMES[kind]}://{bucket}/{settings.prefix}"
    if kind == "s3":
        _require_safe_token_service()
    try:
        if kind == "s3":
            return ObjectStore("s3", where, S3Store(bucket, config=_s3(settings), **how))
        config: dict[str, Any] = {}
        if settings.endpoint:
            config = {"base_url" if kind == "gcs" else "endpoint": settings.endpoint}
        if kind == "gcs":
            return ObjectStore("gcs", where, GCSStore(bucket, config=cast(Any, config), **how))
        return ObjectStore("azure", where, AzureStore(bucket, config=cast(Any, config), **how))
    except (BaseError, OSError, ValueError) as error:
        # What it says may repeat a credential.
        raise InvalidInputError(
            f"The store {where} cannot be opened with the settings of this environment",
            hint="Look at the credentials that it is given: a file that is not there, or half set.",
        ) from error


def _s3(settings: "StoreSettings") -> Any:
    config: dict[str, Any] = {
        "region": settings.region,
        "virtual_hosted_style_request": not settings.force_path_style,
        # One key at a time is deleted, and some servers answer a bulk of them with what is no XML.
        "disable_bulk_delete": True,
    }
    if settings.endpoint is None:
        return config
    config["endpoint"] = settings.endpoint
    if not settings.force_path_style:
        url = urlsplit(settings.endpoint)
        config["endpoint"] = url._replace(netloc=f"{settings.bucket}.{url.netloc}").geturl()
    return config


def _require_safe_token_service() -> None:
    """A web identity's token is a secret: the client sends it over https alone."""
    if os.environ.get("AWS_ENDPOINT_URL_STS", "").startswith("http:"):
        raise InvalidInputError(
            "AWS_ENDPOINT_URL_STS is no https URL",
            hint="The token of a web identity is sent to it, so it must be https.",
        )
