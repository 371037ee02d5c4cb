"""The engine behind an Airflow connection."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any
from urllib.parse import quote, urlencode

import dwh
from dwh.airflow.compat import AirflowFailException, BaseHook

_POSTGRES = ("postgres", "postgresql")
# options of libpq that an Airflow connection to PostgreSQL may have in `extra`; others are Airflow's own. Those that dwh does
# not support are handed on, too: it refuses them, for to leave one out would promise more than is kept.
_LIBPQ = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "options",
    "passfile",
    "require_auth",
    "service",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
)


class DwhHook(BaseHook):
    """Makes a `dwh.Pipeline` of what Airflow knows.

    The configuration is `config`, else what the connection `dwh_conn_id` has in its `extra`, else the file that
    `DWH_CONFIG` names on the worker, else `dwh.toml` there. In `extra` stand, as JSON:

    - `config`: the path of a `dwh.toml` on the worker; or its sections (`project`, `source`, …) themselves;
    - `connections`: names of variables that `dwh.toml` uses, each with the Airflow connection to PostgreSQL whose
      address it is: `{"SOURCE_URL": "fleet_db"}` for `url = "${SOURCE_URL}"`;
    - `aws_conn_id`: the Airflow connection with the keys of the bucket;
    - `environment`: other variables.

    The arguments of the same names add to that, and win.
    """

    conn_name_attr = "dwh_conn_id"
    default_conn_name = "dwh_default"
    conn_type = "dwh"
    hook_name = "dwh"

    def __init__(
        self,
        dwh_conn_id: str | None = None,
        *,
        config: str | PathLike[str] | Mapping[str, Any] | None = None,
        connections: Mapping[str, str] | None = None,
        aws_conn_id: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.dwh_conn_id = dwh_conn_id
        self.config = config
        self.connections = connections or {}
        self.aws_conn_id = aws_conn_id
        self.environment = environment or {}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return {
            "hidden_fields": ["host", "schema", "login", "password", "port"],
            "relabeling": {},
            "placeholders": {"extra": '{"config": "/etc/dwh/dwh.toml", "connections": {"SOURCE_URL": "fleet_db"}}'},
        }

    def get_conn(self) -> dwh.Pipeline:
        """The engine. It connects to nothing before a verb is called; a process that was forked makes its own."""
        extra = self.get_connection(self.dwh_conn_id).extra_dejson if self.dwh_conn_id else {}
        config = self.config if self.config is not None else _config_of(extra)
        environment = {name: str(value) for name, value in extra.get("environment", {}).items()}
        for name, conn_id in {**extra.get("connections", {}), **self.connections}.items():
            environment[name] = self._address(conn_id)
        aws = self.aws_conn_id or extra.get("aws_conn_id")
        if aws:
            environment = _over(self._keys(aws), environment)
        return dwh.Pipeline(config, environment=_over(self.environment, environment))

    def test_connection(self) -> tuple[bool, str]:
        """What `dwh check` says."""
        try:
            self.get_conn().check()
        except dwh.DwhError as error:
            return False, str(error)
        return True, "a run of every table would find what it needs"

    def _address(self, conn_id: str) -> str:
        """The address of a PostgreSQL server, as libpq reads it."""
        conn = self.get_connection(conn_id)
        if conn.conn_type not in _POSTGRES:
            raise AirflowFailException(f"connection `{conn_id}` is of type `{conn.conn_type}`, `postgres` is needed")
        # A password without a name must not stand in the place of the name, which is told in messages.
        password = f":{quote(conn.password, safe='')}" if conn.password else ""
        login = quote(conn.login or "", safe="") + password
        user = f"{login}@" if login else ""
        places = ",".join(_place(host, conn.port) for host in (conn.host or "").split(","))
        extra = {key: value for key, value in conn.extra_dejson.items() if key in _LIBPQ and value is not None}
        settings = f"?{urlencode(extra, quote_via=quote)}" if extra else ""
        return f"postgresql://{user}{places}/{quote(conn.schema or '', safe='')}{settings}"

    def _keys(self, conn_id: str) -> dict[str, str]:
        """The variables of a connection of type `aws`."""
        conn = self.get_connection(conn_id)
        extra = conn.extra_dejson
        values = {
            "AWS_ACCESS_KEY_ID": conn.login or extra.get("aws_access_key_id"),
            "AWS_SECRET_ACCESS_KEY": conn.password or extra.get("aws_secret_access_key"),
            "AWS_SESSION_TOKEN": extra.get("aws_session_token"),
            "AWS_REGION": extra.get("region_name"),
            "AWS_ENDPOINT_URL": extra.get("endpoint_url"),
        }
        return {name: value for name, value in values.items() if value}


def _over(variables: Mapping[str, str], below: Mapping[str, str]) -> dict[str, str]:
    """These variables, and those of another place. A session token belongs to the keys that it was issued with: keys without
    one are told to have none, so that no token of another place, nor of the worker, is sent with them."""
    has_keys = variables.get("AWS_ACCESS_KEY_ID") and variables.get("AWS_SECRET_ACCESS_KEY")
    token = {"AWS_SESSION_TOKEN": ""} if has_keys else {}
    return {**below, **token, **variables}


def _config_of(extra: Mapping[str, Any]) -> Any:
    if "config" in extra:
        return extra["config"]
    others = ("connections", "aws_conn_id", "environment")
    return {key: value for key, value in extra.items() if key not in others} or None


def _place(host: str, port: int | None) -> str:
    """A name, an address, or the folder of a socket; with the port, unless it has one of its own."""
    host = host.strip()
    is_bare = host.count(":") > 1 and not host.startswith("[")
    place = f"[{host}]" if is_bare else quote(host, safe="[]:.")
    return place if not port or ":" in place.rpartition("]")[2] else f"{place}:{port}"
