"""The stub names what the native module has, argument by argument."""

import ast
import inspect

import dwh
import pytest
from stub import CLASSES, properties, verbs

FACES = [dwh.Pipeline, dwh.AsyncPipeline]


def test_classes() -> None:
    public = {name for name in CLASSES if not name.startswith("_")}
    assert public == set(dwh.__all__) - {"__version__"}
    for name, node in CLASSES.items():
        if any(isinstance(base, ast.Name) and base.id == "DwhError" for base in node.bases):
            assert issubclass(getattr(dwh, name), dwh.DwhError)


@pytest.mark.parametrize("face", FACES)
def test_verbs(face: type) -> None:
    native = {name for name in vars(face) if not name.startswith("_")}
    assert set(verbs(face.__name__)) | properties(face.__name__) == native


def as_python_reads(function: ast.AST, name: str) -> inspect.Signature:
    """The signature of a function of the stub, without its types."""
    for argument in function.args.args + function.args.kwonlyargs:
        argument.annotation = None
    empty = ast.parse(f"def {name}(): ...").body[0]
    empty.args = function.args
    module: dict = {}
    exec(compile(ast.Module([empty], []), "stub", "exec"), module)
    return inspect.signature(module[name])


@pytest.mark.parametrize("face", FACES)
def test_arguments(face: type) -> None:
    for name, function in verbs(face.__name__).items():
        assert isinstance(function, ast.AsyncFunctionDef) == (face is dwh.AsyncPipeline), name
        shapes = [
            [(one.name, one.kind, one.default) for one in signature.parameters.values() if one.name != "self"]
            for signature in (as_python_reads(function, name), inspect.signature(getattr(face, name)))
        ]
        assert shapes[0] == shapes[1], name


def test_both_faces_say_the_same() -> None:
    for name in verbs("Pipeline"):
        here, there = getattr(dwh.Pipeline, name), getattr(dwh.AsyncPipeline, name)
        assert (here.__doc__, here.__text_signature__) == (there.__doc__, there.__text_signature__)
