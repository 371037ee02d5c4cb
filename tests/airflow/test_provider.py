"""What Airflow finds of the package, and how connections become the configuration."""

import json

from conftest import Airflow, Project


def test_airflow_finds_the_provider(airflow: Airflow) -> None:
    [provider] = [row for row in json.loads(tail(airflow.run("providers", "list", "-o", "json"))) if row["package_name"] == "dwh"]
    assert provider["version"] == airflow.python("import dwh; print(dwh.__version__)").strip()
    hooks = json.loads(tail(airflow.run("providers", "hooks", "-o", "json")))
    assert [hook["hook_name"] for hook in hooks if hook["connection_type"] == "dwh"] == ["dwh"]


def test_connections_become_the_configuration(airflow: Airflow, project: Project) -> None:
    # The address of the source stands in a connection of Airflow's own, as `airflow connections add` makes it.
    user = project.source_url.split("//")[1].split("@")[0].split(":")
    source = {"conn_type": "postgres", "login": user[0], "password": user[1], "host": "127.0.0.1",
              "port": project.source_server.port, "schema": project.name, "extra": {"sslmode": "disable"}}  # fmt: skip
    text = project.config.read_text().replace(f":-{project.source_url}", "")
    project.config.write_text(text)
    fleet = {"conn_type": "dwh", "extra": {"config": str(project.config), "connections": {"SOURCE_URL": "fleet_db"}}}
    connections = {"AIRFLOW_CONN_FLEET_DB": json.dumps(source), "AIRFLOW_CONN_FLEET": json.dumps(fleet)}
    done = airflow.python(
        """
        from dwh.airflow.hook import DwhHook
        hook = DwhHook("fleet")
        print(hook.test_connection())
        print(hook.get_conn().run("devices").runs[0]["rows_loaded"])
        """,
        DWH_CONFIG="/nowhere.toml",
        **connections,
    )
    lines = done.splitlines()
    assert "(True, 'a run of every table would find what it needs')" in lines and lines[-1] == "2", done


def test_a_connection_may_be_the_whole_configuration(airflow: Airflow) -> None:
    extra = {
        "project": {"name": "fleet"},
        "source": {"app": {"url": "postgresql://r@127.0.0.1:1/x"}},
        "target": {"url": "postgresql://w@127.0.0.1:1/x"},
        "blob": {"url": "file:///tmp/none"},
        "table": [{"name": "trips", "relation": "app.trips", "mode": "snapshot"}],
        "environment": {"AWS_REGION": "eu-west-1"},
    }
    done = airflow.python(
        "from dwh.airflow.hook import DwhHook; print(DwhHook('fleet').get_conn().tables())",
        AIRFLOW_CONN_FLEET=json.dumps({"conn_type": "dwh", "extra": extra}),
    )
    assert done.splitlines()[-1] == "['trips']"


def test_addresses_of_connections_with_odd_values(airflow: Airflow) -> None:
    odd = {
        "PASSWORD": {"password": "hunter2", "host": "db", "schema": "fleet"},
        "HOSTS": {"login": "r", "host": "a,b:5433", "port": 6432, "schema": "fleet"},
        "ADDRESS": {"login": "r@x", "password": "p/w", "host": "::1", "port": 6432},
        "EXTRA": {"host": "db", "extra": {"sslmode": "require", "channel_binding": "require", "sslrootcert": None, "iam": False}},
    }
    done = airflow.python(
        "from dwh.airflow.hook import DwhHook\nfor name in %r: print('URL', DwhHook()._address(name.lower()))" % list(odd),
        **{f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "postgres", **conn}) for name, conn in odd.items()},
    )
    assert [line.split()[1] for line in done.splitlines() if line.startswith("URL")] == [
        # A name that is not there is not the password: names are told in messages.
        "postgresql://:hunter2@db/fleet",
        "postgresql://r@a:6432,b:5433/fleet",
        "postgresql://r%40x:p%2Fw@[::1]:6432/",
        "postgresql://db/?sslmode=require&channel_binding=require",
    ], done


def test_a_session_token_stays_with_its_keys(airflow: Airflow) -> None:
    old = {"AWS_ACCESS_KEY_ID": "k0", "AWS_SECRET_ACCESS_KEY": "s0", "AWS_SESSION_TOKEN": "t0"}
    keys = {"conn_type": "aws", "login": "k1", "password": "s1"}
    fleet = {"conn_type": "dwh", "extra": {"config": {}, "aws_conn_id": "plain", "environment": old}}
    connections = {"FLEET": fleet, "PLAIN": keys, "SHORT": {**keys, "extra": {"aws_session_token": "t1"}}, "ROLE": {"conn_type": "aws"}}
    done = airflow.python(
        """
        import dwh
        from dwh.airflow.hook import DwhHook
        dwh.Pipeline = lambda config, environment: environment
        own = {"AWS_ACCESS_KEY_ID": "k2", "AWS_SECRET_ACCESS_KEY": "s2"}
        for aws, more in (("plain", {}), ("short", {}), ("role", {}), ("short", own)):
            found = DwhHook("fleet", aws_conn_id=aws, environment=more).get_conn()
            print("KEYS", found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"], repr(found["AWS_SESSION_TOKEN"]))
        """,
        **{f"AIRFLOW_CONN_{name}": json.dumps(conn) for name, conn in connections.items()},
    )
    # An empty one is none, and hides that of the worker.
    assert [line for line in done.splitlines() if line.startswith("KEYS")] == [
        "KEYS k1 s1 ''",
        "KEYS k1 s1 't1'",
        "KEYS k0 s0 't0'",
        "KEYS k2 s2 ''",
    ], done


def test_tables_that_an_earlier_try_loaded_are_told(airflow: Airflow) -> None:
    said = airflow.python(
        """
        from types import SimpleNamespace
        from dwh.airflow.compat import AssetAlias
        from dwh.airflow.operators import DwhRunOperator

        for number in (1, 2):
            operator = DwhRunOperator(task_id="run", outlets=[AssetAlias("dwh")])
            told = []

            class Events:
                def __getitem__(self, outlet):
                    return SimpleNamespace(add=lambda asset, extra: told.append(asset.uri))

            context = {"outlet_events": Events(), "ti": SimpleNamespace(try_number=number)}
            operator.tell_assets(context, "fleet", {"trips": {"rows_loaded": 0}, "devices": {"rows_loaded": 2}})
            print("TOLD", *told)
        """
    )
    told = [line.split()[1:] for line in said.splitlines() if line.startswith("TOLD")]
    assert told == [["dwh://fleet/devices"], ["dwh://fleet/trips", "dwh://fleet/devices"]], said


def tail(output: str) -> str:
    """JSON that stands behind warnings."""
    return output[output.index("[") :]
