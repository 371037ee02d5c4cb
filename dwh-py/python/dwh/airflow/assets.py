"""Tables of bronze as assets: what a DAG makes, and others wait for. In Airflow 2 they are called datasets."""

from dwh.airflow.compat import Asset


def table_asset(project: str, table: str) -> Asset:
    """The asset of a table, by the names of `dwh.toml`: `[project] name` and `[[table]] name`."""
    return Asset(f"dwh://{project}/{table}")
