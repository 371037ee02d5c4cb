"""What Airflow reads of every provider; the entry point `apache_airflow_provider`."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    return {
        "package-name": "dwh",
        "name": "dwh",
        "description": "Copies PostgreSQL tables into a warehouse: extract, blob, load; no row lost, none twice.",
        "hooks": [{"integration-name": "dwh", "python-modules": ["dwh.airflow.hook"]}],
        "operators": [{"integration-name": "dwh", "python-modules": ["dwh.airflow.operators"]}],
        "connection-types": [{"connection-type": "dwh", "hook-class-name": "dwh.airflow.hook.DwhHook", "hook-name": "dwh"}],
        "asset-uris": [{"schemes": ["dwh"], "handler": None}],
        "dataset-uris": [{"schemes": ["dwh"], "handler": None}],
    }
