from __future__ import annotations

import sys

import pytest

from kaixu.catalog.find import find
from kaixu.catalog.importing import import_plugin, module_name, restored_on_failure
from kaixu.plugin import PluginError

from .conftest import Folder


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 / 0", "plugin `./bad.py` (./bad.py) cannot be imported: ZeroDivisionError: division by zero"),
        ("import nosuchpackage", "plugin `./bad.py` (./bad.py) needs the package `nosuchpackage`"),
        ("\nx = = 1", "plugin `./bad.py` (./bad.py), line 2: invalid syntax"),
        ("raise SystemExit(3)", "plugin `./bad.py` (./bad.py) exited the program during its import"),
        (
            "from kaixu.plugin import Nonsense",
            "plugin `./bad.py` (./bad.py) cannot be imported: ImportError: ",
        ),
    ],
)
def test_plugin_that_does_not_import_is_named_with_its_error(folder: Folder, code: str, expected: str) -> None:
    file = folder.write("bad.py", code)
    with pytest.raises(PluginError) as caught:
        import_plugin("./bad.py", find("./bad.py", folder.path))
    assert str(caught.value).startswith(expected)
    assert module_name(file) not in sys.modules


def test_file_shadows_no_installed_package(folder: Folder) -> None:
    folder.write("json.py", "loads = None")
    module = import_plugin("./json.py", find("./json.py", folder.path))
    assert module.loads is None
    assert sys.modules["json"] is not module


def test_folder_is_a_package_with_modules_of_its_own(folder: Folder) -> None:
    folder.write("pack/__init__.py", "from .inner import VALUE")
    folder.write("pack/inner.py", "VALUE = 7")
    assert import_plugin("./pack", find("./pack", folder.path)).VALUE == 7


def test_reload_reads_a_changed_file_and_a_broken_one_leaves_the_old(folder: Folder) -> None:
    init = folder.write("pack/__init__.py", "from .inner import VALUE")
    folder.write("pack/inner.py", "VALUE = 7")
    found = find("./pack", folder.path)
    old = import_plugin("./pack", found)
    folder.write("pack/inner.py", "VALUE = 'changed'")
    new = import_plugin("./pack", found)
    assert (old.VALUE, new.VALUE) == (7, "changed")
    folder.write("pack/inner.py", "1 / 0")
    with pytest.raises(PluginError):
        import_plugin("./pack", found)
    assert sys.modules[module_name(init)] is new


def test_file_that_is_not_python_says_so(folder: Folder) -> None:
    folder.write("plugin.txt", "")
    with pytest.raises(PluginError, match=r"its name must end in \.py"):
        import_plugin("./plugin.txt", find("./plugin.txt", folder.path))


def test_files_that_were_imported_in_vain_give_way_to_those_from_before(folder: Folder) -> None:
    file = folder.write("word.py", "word = 'old'")
    old = import_plugin("./word.py", find("./word.py", folder.path))
    folder.write("word.py", "word = 'newer'")
    new = folder.write("new.py", "word = 'new'")

    def reload() -> None:
        with restored_on_failure():
            assert import_plugin("./word.py", find("./word.py", folder.path)).word == "newer"
            import_plugin("./new.py", find("./new.py", folder.path))
            raise PluginError("a lane does not start")

    with pytest.raises(PluginError):
        reload()
    assert sys.modules[module_name(file)] is old
    assert module_name(new) not in sys.modules
    with restored_on_failure():
        newer = import_plugin("./word.py", find("./word.py", folder.path))
    assert sys.modules[module_name(file)] is newer
