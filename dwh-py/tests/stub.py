"""`_dwh.pyi`, read as text: what type checkers believe."""

import ast
from pathlib import Path

import dwh

TREE = ast.parse(Path(dwh.__file__).with_name("_dwh.pyi").read_text())
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}


def fields(name: str) -> list[str]:
    """The annotated names of a class."""
    return [node.target.id for node in CLASSES[name].body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]


def methods(name: str) -> dict[str, ast.AST]:
    """The methods of a class."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in CLASSES[name].body if isinstance(node, functions)}
