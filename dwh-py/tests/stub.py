"""`_dwh.pyi`, read as text: what type checkers believe."""

import ast
from pathlib import Path

import dwh

TREE = ast.parse(Path(dwh.__file__).with_name("_dwh.pyi").read_text())
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}


def fields(name: str) -> list[str]:
    """The annotated names of a class."""
    return [node.target.id for node in CLASSES[name].body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]


def verbs(name: str) -> dict[str, ast.AST]:
    """The methods of a class that are called by name."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in CLASSES[name].body if isinstance(node, functions) and not node.name.startswith("_")]
    return {node.name: node for node in found if not is_property(node)}


def properties(name: str) -> set[str]:
    """The attributes of a class that are no fields."""
    return {node.name for node in CLASSES[name].body if isinstance(node, ast.FunctionDef) and is_property(node)}


def is_property(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list)
