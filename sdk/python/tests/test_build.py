"""What the build says of modules whose roles are not as they should be. That a component works is for the conformance suite."""

import sys
import tempfile
import unittest
from pathlib import Path

from recoil_build import BuildError, roles

HANDLER = "import recoil\nclass Counter(recoil.Handler):\n    def handle(self, transaction, request): return request\n"


class RolesTest(unittest.TestCase):
    def find(self, source: str, module: str = "some_app") -> dict[str, str]:
        """The exports of a module with this source, and their classes."""
        path, modules = list(sys.path), set(sys.modules)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "some_app.py").write_text(source)
            try:
                return {role.export: name for role, name in roles.find(module, [Path(folder)]).items()}
            finally:
                sys.path[:] = path
                for name in set(sys.modules) - modules:
                    del sys.modules[name]

    def test_a_module_has_the_roles_that_its_classes_extend(self) -> None:
        self.assertEqual(self.find(HANDLER), {"handler": "Counter"})
        both = HANDLER + "class Both(Counter, recoil.Timer):\n    def fire(self, transaction, id, payload): pass\n"
        self.assertEqual(self.find(both), {"handler": "Both", "timer": "Both"})
        hidden = HANDLER + "class _Other(recoil.Handler):\n    handle = Counter.handle\n"
        self.assertEqual(self.find(hidden), {"handler": "Counter"})

    def test_a_scheduler_alone_needs_no_handler(self) -> None:
        planner = "import recoil\nclass Planner(recoil.Scheduler):\n    def plan(self, view): return []\n"
        self.assertEqual(self.find(planner), {"scheduler": "Planner"})
        self.assertEqual(self.find(HANDLER + planner), {"handler": "Counter", "scheduler": "Planner"})
        timer = planner + "class Bell(recoil.Timer):\n    def fire(self, transaction, id, payload): pass\n"
        with self.assertRaisesRegex(BuildError, "has no handler"):
            self.find(timer)

    def test_an_admin_has_two_methods(self) -> None:
        admin = HANDLER + "class Office(recoil.Admin):\n    def commands(self): return []\n"
        self.assertEqual(
            self.find(admin + "    def run(self, arguments, router): return ''\n"), {"handler": "Counter", "admin": "Office"}
        )
        for source, said in (
            (admin, "Office does not define run: write `def run.self, arguments, router.`$"),
            (HANDLER + "class Office(recoil.Admin): pass\n", "write `def commands.self.` and `def run.self, arguments, router.`"),
            (admin + "    def run(self, arguments): return ''\n", "Office.run cannot be called as run.self, arguments, router.:"),
            (admin.replace("def commands", "async def commands") + "    def run(self, *all): return ''\n", "commands is async"),
        ):
            with self.subTest(said), self.assertRaisesRegex(BuildError, said):
                self.find(source)

    def test_what_is_wrong_is_said_in_words_of_the_source(self) -> None:
        for source, said in (
            ("", "has no handler"),
            ("class Counter:\n    def handle(self): pass\n", "Counter has the method, but does not extend"),
            (HANDLER + "class Second(recoil.Handler):\n    handle = Counter.handle\n", "2 classes .* Counter, Second"),
            ("import recoil\nclass Counter(recoil.Handler): pass\n", "does not define handle: write `def handle"),
            (HANDLER.replace("transaction, ", ""), "cannot be called as handle.self, transaction, request"),
            (HANDLER.replace("def handle", "async def handle"), "is asynchronous or a generator"),
            (HANDLER + "    def __init__(self, name): pass\n", "made without arguments"),
            ("import absent_package", "pip install --target vendor absent_package"),
            ("1 / 0", "line 1, in <module>(?s:.*)ZeroDivisionError"),
            ("def", "SyntaxError"),
        ):
            with self.subTest(said), self.assertRaisesRegex(BuildError, said):
                self.find(source)

    def test_the_module_must_be_there_and_have_a_name_of_its_own(self) -> None:
        for module, said in (
            ("other_app", "there is no module other_app"),
            ("recoil", "is taken"),
            ("some_app.py", "there is no module some_app.py"),
            ("some-app", "cannot be a module's name"),
        ):
            with self.subTest(module), self.assertRaisesRegex(BuildError, said):
                self.find(HANDLER, module)

    def test_modules_in_the_place_of_others_are_named(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for path in ("types.py", "mine.py", "json/__init__.py", "logging/data.txt"):
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text("")
            notes = roles.shadows([folder, folder / "absent"])
            self.assertEqual([note.partition(" stands")[0] for note in notes], [str(folder / "json"), str(folder / "types.py")])
            (folder / "recoil.py").write_text("")
            with self.assertRaisesRegex(BuildError, "recoil.py would stand in the place of the SDK's module recoil"):
                roles.find("mine", [folder])


if __name__ == "__main__":
    unittest.main()
