"""Finds the roles that a package's module defines, by importing it natively.

What is wrong with them is said here, in Python's terms: componentize-py would find it later or, at worst, a client.
"""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import recoil
from recoil_build import BuildError


@dataclass(frozen=True)
class Role:
    """A class that authors extend, and what comes of it."""

    base: type
    export: str
    """The contract's name of the export."""
    protocol: str
    """The class that componentize-py looks for."""
    calls: tuple[str, ...]
    """How its methods are called, for those who wrote them otherwise."""

    @property
    def maker(self) -> str:
        """The function of `recoil._export` that makes the export."""
        return self.export.replace("-", "_")

    @property
    def methods(self) -> dict[str, str]:
        """The methods by their names, and how each is called."""
        return {call.partition("(")[0]: call for call in self.calls}


HANDLER = Role(recoil.Handler, "handler", "Handler", ("handle(self, transaction, request)",))
SCHEDULER = Role(recoil.Scheduler, "scheduler", "Scheduler", ("plan(self, view)",))
ROLES = (
    HANDLER,
    Role(recoil.Timer, "timer", "Timer", ("fire(self, transaction, id, payload)",)),
    Role(recoil.Listener, "tcp-listener", "TcpListener", ("serve(self, connection, router)",)),
    Role(recoil.HttpHandler, "http-handler", "HttpHandler", ("respond(self, request, router)",)),
    Role(recoil.Admin, "admin", "Admin", ("commands(self)", "run(self, arguments, router)")),
    SCHEDULER,
)

RESERVED = ("recoil", "recoil_build", "recoil_main", "wit_world")


def find(module: str, folders: list[Path]) -> dict[Role, str]:
    """The name of the class for each role that the module has."""
    if not all(part.isidentifier() for part in module.split(".")):
        raise BuildError(f"{module!r} cannot be a module's name: name the module as in `import`, without .py")
    if module.split(".")[0] in RESERVED:
        raise BuildError(f"the module cannot be called {module}, which is taken: name it otherwise")
    for note in shadows(folders):
        print(f"note: {note}", file=sys.stderr)
    imported = _import(module, folders)
    found = {role: name for role in ROLES if (name := _class_for(role, imported))}
    if HANDLER not in found and list(found) != [SCHEDULER]:
        raise BuildError(
            f"{imported.__file__} has no handler, and every package owns data: write a class that extends recoil.Handler, "
            "with a method handle(self, transaction, request)" + _misled(imported)
        )
    return found


def shadows(folders: list[Path]) -> list[str]:
    """Modules in these folders that stand in the place of Python's own. Those in the place of the SDK's are refused."""
    notes = []
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            name = path.stem if path.suffix == ".py" else path.name if (path / "__init__.py").is_file() else ""
            if name in RESERVED:
                raise BuildError(f"{path} would stand in the place of the SDK's module {name}: name it otherwise")
            if name in sys.stdlib_module_names:
                notes.append(
                    f"{path} stands in the place of Python's own module {name} for all that imports it, Python's other modules among "
                    "them: if an import fails, name it otherwise"
                )
    return notes


def _import(module: str, folders: list[Path]) -> ModuleType:
    for folder in folders:
        if not folder.is_dir():
            raise BuildError(f"{folder} is no folder")
    sys.path[:0] = [str(folder.resolve()) for folder in folders]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise BuildError(
                f"there is no module {module} in {folders[0]}: the package's roles are looked for in app.py, or in the "
                "module that `build.sh --module NAME` names"
            ) from None
        absent = str(error.name).partition(".")[0]
        raise BuildError(
            f"{_trace(error)}\nA component has only what is built into it: the standard library, the package's folder and the "
            f"folders named by --path. For a package from PyPI: pip install --target vendor {absent}, "
            "and build.sh --path vendor"
        ) from None
    except Exception as error:
        raise BuildError(f"{_trace(error)}\n{module} cannot be imported, which is what building it begins with") from None


def _trace(error: Exception) -> str:
    """The traceback from the author's own code on."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    own = [frame for frame in frames if frame.filename not in ours and not frame.filename.startswith("<frozen")]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(own), *traceback.format_exception_only(error)]
    return "".join(lines).rstrip()


def _class_for(role: Role, module: ModuleType) -> str | None:
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, role.base)
        and not value.__module__.startswith("recoil.")
        and not name.startswith("_")
    }
    # What others in the module extend is their base, and not meant for itself.
    leaves = {
        name: value
        for name, value in classes.items()
        if not any(other is not value and issubclass(other, value) for other in classes.values())
    }
    if len(leaves) > 1:
        raise BuildError(
            f"{module.__file__} has {len(leaves)} classes that extend recoil.{role.base.__name__}: {', '.join(leaves)}. A "
            "package has one; begin the names of others with an underscore, or keep them in another module"
        )
    for name, value in leaves.items():
        _check(role, name, value)
        return name
    return None


def _check(role: Role, name: str, value: type) -> None:
    if missing := sorted(getattr(value, "__abstractmethods__", ())):
        wanted = "` and `".join(f"def {role.methods.get(method, method)}" for method in missing)
        raise BuildError(f"{name} does not define {', '.join(missing)}: write `{wanted}`")
    for method, call in role.methods.items():
        _check_method(f"{name}.{method}", call, getattr(value, method))
    try:
        inspect.signature(value).bind()
    except TypeError as error:
        raise BuildError(f"{name} is made without arguments, by {name}(), but its __init__ has a {error}") from None


def _check_method(name: str, call: str, method: Callable[..., object]) -> None:
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise BuildError(f"{name} is asynchronous or a generator, but is called plainly: write `def {call}`, which may block")
    given = call.count(",") + 1
    try:
        inspect.signature(method).bind(*[None] * given)
    except TypeError as error:
        raise BuildError(f"{name} cannot be called as {call}: {error}") from None


def _misled(module: ModuleType) -> str:
    """A hint for who wrote the method and forgot the base class."""
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "handle"):
            return f"; {name} has the method, but does not extend recoil.Handler"
    return ""
