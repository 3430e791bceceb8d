"""The small parts of set-up: stamp, indexes, progress, what may not be installed."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import bench
from tools.setup import debian, program, stamp
from tools.setup.commands import run
from tools.setup.indexes import uv_environment
from tools.setup.places import BINARY_MODULE, Places
from tools.setup.progress import Progress, SetupError, duration


@pytest.fixture
def places(checkout: Callable[..., Places]) -> Places:
    return checkout(PATH="")


class TestStamp:
    def written(self, places: Places) -> stamp.Stamp:
        output = places.root / "output"
        output.touch()
        made = stamp.Stamp(stamp.current_inputs(places), [str(output)], ["wrk"])
        stamp.write(places, made)
        return made

    def test_it_is_found_again(self, places: Places) -> None:
        made = self.written(places)
        assert stamp.read(places) == made

    @pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock", "kube/go.mod", BINARY_MODULE])
    def test_a_changed_input_ends_it(self, places: Places, name: str) -> None:
        self.written(places)
        (places.root / name).write_text("changed")
        assert stamp.read(places) is None

    def test_a_removed_output_ends_it(self, places: Places) -> None:
        self.written(places)
        (places.root / "output").unlink()
        assert stamp.read(places) is None

    def test_another_binary_ends_it(self, places: Places) -> None:
        self.written(places)
        assert stamp.read(Places(places.root, {**places.environ, "OUTRIDER_KUBE": "/other"})) is None

    @pytest.mark.parametrize("content", ["", "[]", '{"inputs": 1}', "\x00"])
    def test_a_broken_one_is_none(self, places: Places, content: str) -> None:
        self.written(places)
        (places.tools / "setup.json").write_text(content)
        assert stamp.read(places) is None


class TestProgram:
    def test_with_everything_there_nothing_is_run(self, places: Places) -> None:
        made = stamp.Stamp(stamp.current_inputs(places), [], ["wrk (a benchmark)"])
        stamp.write(places, made)
        lines: list[str] = []
        program.set_up(places, Progress(lines.append))
        assert lines == ["Not on this machine: wrk (a benchmark)"]

    def test_a_failure_is_one_message_and_a_status(
        self, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(_: Places, __: Progress) -> None:
            raise SetupError("no room")

        monkeypatch.setattr(program, "set_up", refuse)
        assert program.main() == 1
        assert capsys.readouterr().err == "make setup: no room\n"


class TestIndexes:
    def test_pips_settings_reach_uv(self) -> None:
        config = (
            "global.cert='/etc/ca.pem'\n:env:.index-url='https://mirror.example/simple'\nglobal.timeout='5'\n"
        )
        assert uv_environment({"PATH": "/bin"}, config) == {
            "PATH": "/bin",
            "UV_SYSTEM_CERTS": "true",
            "SSL_CERT_FILE": "/etc/ca.pem",
            "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        }

    def test_what_is_set_for_uv_wins(self) -> None:
        config = "global.index-url='https://mirror.example/simple'\n"
        chosen = {"UV_DEFAULT_INDEX": "https://other.example", "UV_SYSTEM_CERTS": "false"}
        assert uv_environment(chosen, config) == chosen

    def test_several_values_are_separated_by_blanks(self) -> None:
        assert uv_environment({}, r"global.find-links='\n/a\n/b'")["UV_FIND_LINKS"] == "/a /b"


class TestProgress:
    def test_a_long_step_tells_the_time(self) -> None:
        lines: list[str] = []
        with Progress(lines.append, heartbeat=0.01).step("Building", "minutes"):
            deadline = time.monotonic() + 5
            while len(lines) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
        assert lines[0] == "→ Building (minutes)"
        assert lines[1] == "  … 0.0 s"
        assert lines[-1].startswith("  done in ")

    def test_a_failed_step_is_not_called_done(self) -> None:
        lines: list[str] = []
        with pytest.raises(SetupError), Progress(lines.append).step("Building", "minutes"):
            raise SetupError("no")
        assert lines == ["→ Building (minutes)"]

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (374, "6 min 14 s")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text


class TestCommands:
    def test_a_failure_shows_the_last_lines(self, tmp_path: Path) -> None:
        script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 4"
        with pytest.raises(SetupError) as failed:
            run(["/bin/sh", "-c", script], cwd=tmp_path, environ={}, purpose="counting")
        assert str(failed.value).startswith("counting: /bin/sh ended with status 4:\n    line 75\n")
        assert str(failed.value).endswith("line 99")

    def test_a_missing_program_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match="counting: /nowhere/x could not be started: No such file"):
            run(["/nowhere/x"], cwd=tmp_path, environ={}, purpose="counting")

    def test_a_hanging_program_is_stopped(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match="took longer than 0 s"):
            run(["/bin/sleep", "60"], cwd=tmp_path, environ={}, purpose="waiting", timeout=0.05)


class TestDebian:
    def test_without_apt_everything_lacking_is_named(self, places: Places) -> None:
        lacking = debian.provide(places, Progress(print))
        assert any(line.startswith("wrk ") for line in lacking)
        assert any("kubectl v1.20" in line for line in lacking)

    def test_an_apt_that_fails_is_no_end(self, places: Places) -> None:
        for name in ("apt-get", "dpkg-deb"):
            program = places.root / name
            program.write_text("#!/bin/sh\necho no network; exit 100\n")
            program.chmod(0o755)
        lines: list[str] = []
        lacking = debian.provide(
            Places(places.root, {**places.environ, "PATH": str(places.root)}), Progress(lines.append)
        )
        assert any("kubectl v1.20" in line for line in lacking)
        assert any("no network" in line for line in lines)

    def test_what_tests_ask_for_is_installed(self) -> None:
        """A test that cannot run names the package that it lacks: one of those that set-up installs."""
        tests = Path(__file__).parents[2]
        asked = {
            name
            for path in tests.rglob("*.py")
            for name in re.findall(r"apt-get install ([a-z0-9][a-z0-9.+-]+)", path.read_text())
        }
        assert {"faketime", "haproxy"} <= asked
        assert asked <= {package.name for package in debian.PACKAGES}


class TestBench:
    def test_an_unknown_name_lists_the_known_ones(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert bench.main(["nonsense"]) == 2
        assert "no benchmark nonsense; there are:" in capsys.readouterr().err

    def test_private_modules_are_no_benchmarks(self, tmp_path: Path) -> None:
        for name in ("proxy.py", "_load.py", "__init__.py", "notes.md"):
            (tmp_path / name).touch()
        assert bench.names(tmp_path) == ["proxy"]
