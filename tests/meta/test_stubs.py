"""The stub of the extension module names what the module has, and no more."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Coroutine
from pathlib import Path

import pytest
import trio_asyncio_c
from trio_asyncio_c import _core

PACKAGE = Path(trio_asyncio_c.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_private(name: str) -> bool:
    return name.startswith("_")


def decorators(node: Function | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in node.decorator_list}


def definitions(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Return what a module's or a class's body defines, by name.

    A name has several definitions if it is overloaded. What exists for type
    checkers only is left out, as are the module's type variables and aliases.
    """
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            if "type_check_only" not in decorators(node):
                found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign) and "TypeAlias" not in ast.unparse(node):
            found.setdefault(ast.unparse(node.target), []).append(node)
    return found


STUB = definitions(ast.parse((PACKAGE / "_core.pyi").read_text()).body)
CLASSES = {
    name: node for name, (node, *_) in STUB.items() if isinstance(node, ast.ClassDef)
}
every_class = pytest.mark.parametrize("class_name", CLASSES)


def members(class_name: str) -> dict[str, list[ast.stmt]]:
    """Return what a class of the stub defines or has from its bases there."""
    node = CLASSES[class_name]
    found = {}
    for base in map(ast.unparse, node.bases):
        if base in CLASSES:
            found |= members(base)
    return found | definitions(node.body)


def is_function(node: ast.stmt) -> bool:
    return isinstance(node, Function) and "property" not in decorators(node)


def functions() -> dict[str, tuple[list[Function], object]]:
    """Return the stub's functions and methods, each with the real one."""
    owners = {"": (STUB, _core)}
    for name, node in CLASSES.items():
        owners[f"{name}."] = definitions(node.body), getattr(_core, name, None)
    return {
        # A constructor's signature is what the class says of itself.
        prefix + name: (nodes, real if name == "__new__" else getattr(real, name, None))
        for prefix, (defined, real) in owners.items()
        for name, nodes in defined.items()
        if is_function(nodes[0])
    }


FUNCTIONS = functions()
ASYNC_FUNCTIONS = [
    name
    for name, (nodes, _) in FUNCTIONS.items()
    if isinstance(nodes[0], ast.AsyncFunctionDef) and "." not in name
]
# Those with a default that is no literal, or with no docstring.
WITHOUT_SIGNATURE = {
    "CancelScope.__new__",
    "RunVar.__class_getitem__",
    "RunVar.__new__",
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def stub_parameters(node: Function, is_method: bool) -> list[str]:
    """Return the parameters as `real_parameters` does."""
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    first_optional = len(positional) - len(args.defaults)
    found = []
    for index, arg in enumerate(positional):
        only = " positional" if index < len(args.posonlyargs) else ""
        optional = " optional" if index >= first_optional else ""
        found.append(arg.arg + only + optional)
    if args.vararg is not None:
        found.append(f"*{args.vararg.arg}")
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(arg.arg + " keyword" + (" optional" if default else ""))
    if args.kwarg is not None:
        found.append(f"**{args.kwarg.arg}")
    return found[1:] if is_method else found


def real_parameters(signature: inspect.Signature, is_method: bool) -> list[str]:
    """Return words for each parameter: its name, kind, and whether it is
    optional. The first one of a method is left out.
    """
    patterns = {
        inspect.Parameter.POSITIONAL_ONLY: "{} positional",
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "{}",
        inspect.Parameter.VAR_POSITIONAL: "*{}",
        inspect.Parameter.KEYWORD_ONLY: "{} keyword",
        inspect.Parameter.VAR_KEYWORD: "**{}",
    }
    found = [
        patterns[parameter.kind].format(parameter.name)
        + (" optional" if parameter.default is not parameter.empty else "")
        for parameter in signature.parameters.values()
    ]
    return found[1:] if is_method else found


def test_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_stub_names_what_the_module_has():
    has = {name for name in vars(_core) if not is_private(name)}
    assert has == {name for name in STUB if not is_private(name)}


def test_private_names_of_the_stub_exist():
    assert not [name for name in STUB if not hasattr(_core, name)]


@every_class
def test_stub_names_what_the_class_has(class_name):
    has = {name for name in vars(getattr(_core, class_name)) if not is_private(name)}
    assert not has - members(class_name).keys()


@every_class
def test_members_of_the_stub_exist(class_name):
    cls = getattr(_core, class_name)
    missing = [
        name
        for name, (node, *_) in members(class_name).items()
        if not hasattr(cls, name)
        # What is only annotated may be set on instances that have a __dict__.
        and not (isinstance(node, ast.AnnAssign) and "__dict__" in vars(cls))
    ]
    assert not missing


@every_class
def test_final_is_what_cannot_be_subclassed(class_name):
    is_final = "final" in decorators(CLASSES[class_name])
    try:
        type("Subclass", (getattr(_core, class_name),), {})
    except TypeError:
        assert is_final
    else:
        assert not is_final


@every_function
def test_parameters_are_the_same(name):
    nodes, real = FUNCTIONS[name]
    try:
        signature = inspect.signature(real)
    except ValueError:
        assert name in WITHOUT_SIGNATURE
        return
    # inspect leaves the first parameter of __new__ and class methods out.
    bound = name.endswith(".__new__") or "classmethod" in decorators(nodes[0])
    # Of overloads the longest has all parameters.
    takes = max((stub_parameters(node, "." in name) for node in nodes), key=len)
    assert takes == real_parameters(signature, "." in name and not bound)


class Anything:
    """An argument that each of the async functions takes: a number of seconds,
    something like a Future, and whatever they look at only when awaited.
    """

    _asyncio_future_blocking = False

    def __float__(self) -> float:
        return 0.0


@pytest.mark.parametrize("name", ASYNC_FUNCTIONS)
def test_async_functions_return_awaitables(name):
    (node,), function = FUNCTIONS[name]
    args = node.args
    required = len(args.posonlyargs) + len(args.args) - len(args.defaults)
    awaitable = function(*[Anything()] * required)
    assert isinstance(awaitable, Coroutine)
    awaitable.close()
