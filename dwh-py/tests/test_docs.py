"""Every block of Python in docs/python.md and in the package's README runs as it stands there, on real servers."""

import re
import sys
from pathlib import Path
from typing import Any

import dwh
import pytest
from conftest import Project

ROOT = Path(__file__).parents[2]
TABLES = """
create table app.trips as select * from app.events;
alter table app.trips add primary key (id), alter recorded_at set not null;
create index on app.trips (recorded_at);
create table app.position_history as table app.trips;
alter table app.position_history add primary key (id), alter recorded_at set not null;
create index on app.position_history (recorded_at);
grant select on all tables in schema app to app_ro;
"""


def blocks(page: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [block for block in found if "import DAG" not in block]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the page says so")
@pytest.mark.parametrize("page", ["docs/python.md", "dwh-py/README.md"])
def test_every_block_of_the_page(project: Project, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project.source(TABLES)
    text = project.config.read_text()
    events = text[text.index('[[table]]\nname = "events"') : text.index('[[table]]\nname = "devices"')]
    text += "".join(events.replace("events", name) for name in ("trips", "position_history"))
    project.config.write_text(text)
    monkeypatch.chdir(project.config.parent)
    dwh.Pipeline().migrate()
    dwh.Pipeline().run(["events", "trips", "devices", "position_history"])
    # What is not there any more is a difference, for the page to show.
    project.target("delete from bronze.trips where id = 7")
    names: dict[str, Any] = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)
