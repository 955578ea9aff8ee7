from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import pytest

from kaixu.catalog.find import FoundPlugin, NoSuchPlugin, find, installed, plugins_in

from .conftest import Folder


def test_built_in_plugin_comes_through_the_same_door_as_everyone_s(folder: Folder) -> None:
    found = find("echo", folder.path)
    assert (found.source, found.where, found.version) == ("built-in", "kaixu_echo (kaixu)", version("kaixu"))


def test_installed_package_is_found_by_its_entry_point(folder: Folder, install: Callable[..., None]) -> None:
    install("kaixu-mistral", "mistral", "kaixu_mistral")
    found = find("mistral", folder.path)
    assert (found.source, found.where, found.version) == ("package", "kaixu_mistral (kaixu-mistral)", "1.2")


@pytest.mark.parametrize(
    "file", ["plugins/lanes/acme.py", "plugins/lanes/acme/__init__.py", "plugins/integrations/acme.py"]
)
def test_file_in_the_plugins_folder_is_found_by_its_name(folder: Folder, file: str) -> None:
    path = folder.write(file)
    assert find("acme", folder.path) == FoundPlugin("file", file, None, None, path)


def test_path_means_that_file_or_folder_beside_kaixu_yaml(folder: Folder) -> None:
    file, package = folder.write("my/acme.py"), folder.write("my/pack/__init__.py")
    assert find("./my/acme.py", folder.path).file == file
    assert find("my/acme.py:one", folder.path).file == file
    assert find(str(file), folder.path).file == file
    assert find("./my/pack", folder.path).file == package


def test_path_never_means_an_installed_plugin(folder: Folder) -> None:
    with pytest.raises(NoSuchPlugin, match=r"^there is no plugin file echo\.py beside kaixu\.yaml$"):
        find("echo.py", folder.path)


def test_unknown_name_is_answered_with_the_nearest(folder: Folder) -> None:
    with pytest.raises(NoSuchPlugin, match=r"^there is no plugin `opnai`; did you mean `openai`\?$"):
        find("opnai", folder.path)


def test_two_hits_are_an_error_that_names_both(folder: Folder, install: Callable[..., None]) -> None:
    install("evil", "echo", "evil_echo")
    with pytest.raises(NoSuchPlugin) as caught:
        find("echo", folder.path)
    assert "evil_echo (evil)" in str(caught.value)
    assert "kaixu_echo (kaixu)" in str(caught.value)

    folder.write("plugins/lanes/acme.py")
    folder.write("plugins/lanes/acme/__init__.py")
    with pytest.raises(NoSuchPlugin) as caught:
        find("acme", folder.path)
    assert str(caught.value) == (
        "plugin `acme` could be plugins/lanes/acme.py or plugins/lanes/acme/__init__.py; "
        "rename one, or name a file by its path"
    )


def test_entry_of_plugins_is_a_file_a_package_or_all_that_a_folder_holds(folder: Folder) -> None:
    for name in ("mine/b.py", "mine/a/__init__.py", "mine/_helper.py", "mine/notes.txt", "mine/data/x.txt"):
        folder.write(name)
    assert plugins_in("mine", folder.path) == ["./mine/a", "./mine/b.py"]
    assert plugins_in("./mine/b.py", folder.path) == ["./mine/b.py"]
    assert plugins_in("./mine/a", folder.path) == ["./mine/a"]
    assert plugins_in("echo", folder.path) == ["echo"]


def test_everything_installed_is_listed(install: Callable[..., None]) -> None:
    install("kaixu-mistral", "mistral", "kaixu_mistral")
    assert {"echo", "local", "openai", "mistral"} <= set(installed())
