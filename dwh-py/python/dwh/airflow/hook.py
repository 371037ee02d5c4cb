"""The engine behind an Airflow connection."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any
from urllib.parse import quote, urlencode

import dwh
from dwh.airflow.compat import AirflowFailException, BaseHook

_POSTGRES = ("postgres", "postgresql")
# settings of libpq that an Airflow connection to PostgreSQL may have in `extra`; others are Airflow's own
_LIBPQ = (
    "application_name",
    "connect_timeout",
    "options",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
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
            environment.update(self._keys(aws))
        environment.update(self.environment)
        return dwh.Pipeline(config, environment=environment)

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
        login = ":".join(quote(part, safe="") for part in (conn.login, conn.password) if part)
        user = f"{login}@" if login else ""
        port = f":{conn.port}" if conn.port else ""
        extra = {key: value for key, value in conn.extra_dejson.items() if key in _LIBPQ}
        settings = f"?{urlencode(extra, quote_via=quote)}" if extra else ""
        return f"postgresql://{user}{_host(conn.host)}{port}/{quote(conn.schema or '', safe='')}{settings}"

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


def _config_of(extra: Mapping[str, Any]) -> Any:
    if "config" in extra:
        return extra["config"]
    others = ("connections", "aws_conn_id", "environment")
    return {key: value for key, value in extra.items() if key not in others} or None


def _host(host: str | None) -> str:
    """A name, an address, or the folder of a socket."""
    if host and host.count(":") > 1 and "," not in host and not host.startswith("["):
        return f"[{host}]"
    return quote(host or "", safe="[]:,.")
