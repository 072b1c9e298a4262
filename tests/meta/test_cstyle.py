"""What the C files promise their readers, as far as a simple scan can tell."""

from __future__ import annotations

import re

import pytest

from ._sources import (
    CSRC,
    c_files,
    functions,
    name,
    statements,
    without_comments,
    without_preprocessor,
)

MAX_SOURCE_LINES = 1000
MAX_HEADER_LINES = 250

# What CPython's API takes by a pointer to non-const.
API_TABLES = re.compile(
    r"\b(PyModuleDef|PyModuleDef_Slot|PyMethodDef|PyMemberDef|PyGetSetDef"
    r"|PyType_Slot|PyType_Spec|PyStructSequence_Field|PyStructSequence_Desc)\b"
)
# A line may say why it must be an exception: /* cstyle: mutable: REASON */
EXCUSE = re.compile(r"/\*\s*cstyle: mutable: \w")

sources = pytest.mark.parametrize("path", c_files(".c"), ids=name)
headers = pytest.mark.parametrize("path", c_files(".h"), ids=name)
every_file = pytest.mark.parametrize("path", c_files(), ids=name)


def prepared(text: str) -> str:
    return without_preprocessor(without_comments(text))


def is_mutable_variable(statement: str, depth: int) -> bool:
    """Say whether a statement makes a variable with static storage that can
    change: any at file scope, inside a function one that says static."""
    if depth > 0 and not re.match(r"(static|_Thread_local)\b", statement):
        return False
    if re.match(r"(typedef|extern)\b", statement):
        return False
    statement = re.sub(r"\{.*\}", "", statement, flags=re.DOTALL)
    declared, equals, _ = statement.partition("=")
    declared = declared.strip()
    if API_TABLES.search(declared):
        return False
    pointer = re.search(r"\(\s*\*(.*?)\)", declared)  # to a function
    if pointer:
        return "const" not in pointer[1]
    if not equals and "(" in declared:
        return False  # a function's declaration or head, a macro's use
    if re.fullmatch(r"((static|const)\s+)*(struct|union|enum)(\s+\w+)?", declared):
        return False  # a type alone
    if not re.search(r"\w[\s*]+\w", declared):
        return False  # no declaration: what a macro left behind
    # "const char *name" can point elsewhere; "const char *const name" cannot.
    return "const" not in declared.rpartition("*")[2]


def mutable_variables(text: str) -> list[str]:
    lines = text.splitlines()
    return [
        f"line {line}: {statement.partition('=')[0].strip()}"
        for line, depth, statement in statements(prepared(text))
        if is_mutable_variable(statement, depth) and not EXCUSE.search(lines[line - 1])
    ]


def unpaired_recursion(text: str) -> list[str]:
    """Name the functions that can return between Enter and Leave."""
    found = []
    for function, body in functions(prepared(text)):
        _, entered, rest = body.partition("Py_EnterRecursiveCall")
        if not entered:
            continue
        # The first return is the refusal itself; no other may come without
        # Leave since the one before, nor may the end of the function.
        _, *parts = re.split(r"\breturn\b[^;]*;", rest)
        if not rest.rstrip().endswith(";") or re.search(r"\breturn\b[^;]*;\s*$", rest):
            parts = parts[:-1]
        calls_leave = ["Py_LeaveRecursiveCall" in part for part in parts]
        if not calls_leave or not all(calls_leave):
            found.append(function)
    return found


def test_there_are_sources():
    assert CSRC.is_dir()
    assert c_files(".c")
    assert c_files(".h")


@sources
def test_source_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_SOURCE_LINES


@headers
def test_header_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_HEADER_LINES


@headers
def test_header_states_its_contract(path):
    head = path.read_text().partition("*/")[0]
    for promise in ("Threads:", "Python code run here:"):
        assert promise in head, f"{name(path)}'s first comment lacks {promise}"


@headers
def test_header_guard_is_its_path(path):
    guard = "TAC_" + re.sub(r"\W", "_", name(path)).upper()
    text = path.read_text()
    assert f"#ifndef {guard}\n#define {guard}\n" in text


@every_file
def test_no_mutable_variables(path):
    """State belongs to a module object: several interpreters share the rest."""
    assert not mutable_variables(path.read_text())


@every_file
def test_recursive_calls_are_paired(path):
    assert not unpaired_recursion(path.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "static int count;",
        "static int count = 0;",
        "int count;",
        "static const char *name;",
        "static PyObject *cache = NULL;",
        "static struct pair both = {1, {2}};",
        "struct pair both;",
        "static void (*handler)(int);",
        "static _Thread_local int depth;",
        "int f(void)\n{\n    static int calls;\n    return calls++;\n}",
        "int a[3];",
    ],
)
def test_scan_finds_mutable(text):
    assert mutable_variables(text)


@pytest.mark.parametrize(
    "text",
    [
        "static const int limit = 3;",
        'static const char *const names[] = {"a", "b;", NULL};',
        "static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};",
        'struct PyModuleDef tac_module_def = {.m_name = "x"};',
        "extern struct PyModuleDef tac_module_def;",
        "static int f(int x);",
        "static PyObject *\nf(PyObject *self, PyObject *arg)\n{\n    int x = 1;\n    return 0;\n}",
        "struct pair {\n    int a, b;\n};",
        "typedef struct {\n    int a;\n} Pair;",
        "typedef int (*function)(void);",
        "enum state { A = 1, B };",
        "struct pair;",
        "static int depth; /* cstyle: mutable: the test's own */",
        "// static int count;\n/* int count; */\n#define X static int count;",
    ],
)
def test_scan_passes(text):
    assert not mutable_variables(text)


ENTER = '    if (Py_EnterRecursiveCall("")) {\n        return -1;\n    }\n'


@pytest.mark.parametrize(
    ("body", "paired"),
    [
        ("    work();\n    Py_LeaveRecursiveCall();\n    return 0;\n", True),
        ("    work();\n    return 0;\n", False),
        (
            "    if (x) {\n        return 1;\n    }\n    Py_LeaveRecursiveCall();\n    return 0;\n",
            False,
        ),
        (
            "    if (x) {\n        Py_LeaveRecursiveCall();\n        return 1;\n    }\n"
            "    Py_LeaveRecursiveCall();\n    return 0;\n",
            True,
        ),
        ("    work();\n    Py_LeaveRecursiveCall();\n", True),
        ("    work();\n", False),
    ],
)
def test_scan_of_recursive_calls(body, paired):
    text = f"static int\nf(int x)\n{{\n{ENTER}{body}}}\n"
    assert bool(unpaired_recursion(text)) is not paired
