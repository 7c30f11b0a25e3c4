"""What a user of the object stores of the tests has in the environment."""

import json
import os
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

KEY, SECRET = "AKIDEXAMPLE", "a/Secret+Key"
ACCOUNT, ACCOUNT_KEY = "depthvar", b64encode(b"a secret key of an Azure account").decode()
TOKEN = "ya29.a-secret-token"  # that Google gives for a key


def environment(port: int, scheme: str = "s3", folder: Path | None = None) -> dict[str, str]:
    """What a user has in the environment: endpoint, region and credentials; those of Google in a file in ``folder``."""
    address = f"http://127.0.0.1:{port}"
    if scheme == "az":
        return {"AZURE_STORAGE_CONNECTION_STRING": _azure(port, f"AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY}")}
    if scheme == "gs":
        assert folder is not None
        (folder / "key.json").write_text(json.dumps(google_key(f"{address}/token")))
        return {
            "STORAGE_EMULATOR_HOST": address,
            "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "key.json"),
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask by gRPC what kind of bucket it is
        }
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def azure_sas(port: int) -> str:
    """A connection string with a signature in place of the key; the signature covers no header of a request."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    allowed = AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True)
    until = datetime.now(UTC) + timedelta(hours=1)
    kinds = ResourceTypes(service=True, container=True, object=True)
    signature = generate_account_sas(ACCOUNT, ACCOUNT_KEY, kinds, allowed, until)
    return _azure(port, f"SharedAccessSignature={signature}")


def _azure(port: int, secret: str) -> str:
    return f"DefaultEndpointsProtocol=http;BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};{secret}"


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def google_key(token_uri: str) -> dict[str, str]:
    """The key file of a service account."""
    who = {"type": "service_account", "project_id": "x", "client_email": "x@example.com", "private_key_id": "1"}
    return who | {"token_uri": token_uri, "private_key": _private_key()}
