"""dwh in Airflow 3, and in Airflow 2.11.

>>> from dwh.airflow.operators import DwhRunOperator  # doctest: +SKIP
>>> DwhRunOperator(task_id="run", tables="trips")  # doctest: +SKIP

`operators` has a task for each verb, `hook` the engine behind an Airflow connection, `assets` what other DAGs wait for.
"""
