"""The certificates by which this process and a cluster know each other."""

from pathlib import Path
from typing import Any

from dlkit.bench.errors import UserError
from dlkit.bench.execution.resources import Resources

__all__ = ["security_of"]


def security_of(resources: Resources) -> Any:
    """Returns dask's security for the address that resources name; None for connections that are not encrypted.

    Raises:
        UserError: if certificates are missing, or cannot be read.
    """
    if resources.executor.startswith("tcp://"):  # only where that was asked for: see `Resources`
        return None
    from distributed import Security

    names = {"tls_ca": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
    given = {each: str(path) for name, each in names.items() if (path := getattr(resources, name))}
    for name, each in names.items():
        if each in given and not Path(given[each]).is_file():
            raise UserError(f"resources.{name}: no such file: '{given[each]}'")
    security: Any = Security(require_encryption=True, **given)  # what is not given is taken from dask's own settings
    if not security.tls_ca_file or not security.tls_client_cert:
        raise UserError(
            f"'{resources.executor}' asks for certificates: give --tls-ca, --tls-cert and --tls-key (tls_ca, tls_cert "
            "and tls_key in Python and in [resources]), or set distributed.comm.tls in dask's own settings"
        )
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl's are OSErrors
        raise UserError(f"the certificates for '{resources.executor}' cannot be read: {error}") from None
    return security
