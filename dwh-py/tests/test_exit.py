"""No end of the interpreter is a crash, whatever calls are on their way; `exit_programs.py` looks longer, under load."""

import dwh
import pytest
from conftest import Project
from exit_programs import PROGRAMS, run


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_end_is_no_crash(project: Project, name: str) -> None:
    dwh.Pipeline(project.config).migrate()
    assert [run(name, project.config) for _ in range(5)] == [""] * 5
