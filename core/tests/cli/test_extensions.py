from typer import Typer
from typer.testing import CliRunner

from finetuner.cli.extensions import add_plugin_commands
from finetuner.contracts import CommandRecord
from finetuner.plugins import hookimpl
from finetuner.plugins.host import Host


class Plugin:
    """A plugin with a function, an app, and a name that the host's own app has."""

    loaded: list[str]

    def __init__(self) -> None:
        self.loaded = []

    @hookimpl
    def finetuner_commands(self):
        yield CommandRecord("greet", "Greets somebody.", self.load_function)
        yield CommandRecord("tools", "Several tools.", self.load_app)
        yield CommandRecord("own", "Would take the place of a command.", self.load_function)

    def load_function(self):
        self.loaded.append("function")

        def greet(name: str, loud: bool = False) -> None:
            print(("HELLO " if loud else "hello ") + name)

        return greet

    def load_app(self):
        self.loaded.append("app")
        app = Typer()

        @app.command()
        def one() -> None:
            print("first tool")

        @app.command()
        def two() -> None:
            print("second tool")

        return app


def build():
    plugin = Plugin()
    app = Typer()

    @app.command()
    def own() -> None:
        print("core's own")

    add_plugin_commands(app, Host.discover(entry_points=(), extra=(plugin,)))
    return app, plugin


def run(app, *words):
    return CliRunner().invoke(app, list(words)).output


def test_commands_are_listed_without_being_loaded():
    app, plugin = build()
    help_text = run(app, "--help")
    assert "Greets somebody." in help_text
    assert "Several tools." in help_text
    assert plugin.loaded == []


def test_a_function_and_an_app_get_their_arguments():
    app, plugin = build()
    assert run(app, "greet", "Ada", "--loud") == "HELLO Ada\n"
    assert run(app, "tools", "two") == "second tool\n"
    assert plugin.loaded == ["function", "app"]


def test_a_plugins_help_is_its_own():
    app, _ = build()
    assert "--loud" in run(app, "greet", "--help")


def test_a_command_of_cores_is_not_replaced():
    app, _ = build()
    assert run(app, "own") == "core's own\n"
