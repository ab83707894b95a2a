"""Versions: the gate, the audit, and what happens when two people click at once."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from labeling.models import Project
from registry import artifacts, versions
from registry.models import Activation, Version
from tests.makers import make_person, make_project
from tests.registry.makers import make_version


def history(project: Project) -> list[tuple[str, int]]:
    rows = project.activations.order_by("id")
    return list(rows.values_list("kind", "version__number"))


def states(project: Project) -> dict[int, str]:
    return dict(project.versions.values_list("number", "state"))


@pytest.mark.django_db
class TestOneAtATime:
    def test_numbers_count_up_in_each_project(self) -> None:
        project, other = make_project(), make_project()
        numbers = [make_version(p).number for p in (project, other, project)]
        assert numbers == [1, 1, 2]

    def test_activation_retires_the_version_before(self) -> None:
        project = make_project()
        first, second = make_version(project), make_version(project)
        mia = make_person("mia", project)
        versions.activate(first, by=mia)
        row = versions.activate(second, by=mia, reason="better")
        assert states(project) == {1: "retired", 2: "active"}
        assert (row.previous, row.version, row.by) == (first, second, mia)
        assert (row.reason, row.forced) == ("better", False)
        assert versions.active(project) == second

    def test_activation_raises_the_serving_revision(self) -> None:
        project = make_project()
        make_version(project, active=True)
        assert Project.objects.get(pk=project.pk).serving_revision == 1

    @pytest.mark.parametrize("gate", ["refused", "pending"])
    def test_the_gate_holds_unless_forced_with_a_reason(self, gate: str) -> None:
        project = make_project()
        version = make_version(project, gate=gate)
        with pytest.raises(versions.GateRefused):
            versions.activate(version, by=None, reason="please")
        with pytest.raises(versions.ReasonMissing):
            versions.activate(version, by=None, reason="  ", force=True)
        assert history(project) == []
        row = versions.activate(version, by=None, reason="we know why", force=True)
        assert row.forced

    def test_force_on_a_passed_version_is_not_recorded_as_forced(self) -> None:
        row = versions.activate(make_version(make_project()), by=None, force=True)
        assert not row.forced

    def test_activating_the_active_version_changes_nothing(self) -> None:
        project = make_project()
        version = make_version(project, active=True)
        with pytest.raises(versions.AlreadyActive):
            versions.activate(version, by=None)
        assert history(project) == [("activate", 1)]

    def test_damaged_files_are_not_activated(self) -> None:
        project = make_project()
        make_version(project, active=True)
        broken = make_version(project)
        artifacts.remove(broken)
        with pytest.raises(artifacts.MissingArtifact):
            versions.activate(broken, by=None)
        assert states(project) == {1: "active", 2: "candidate"}

    def test_files_that_rot_are_not_activated(self) -> None:
        version = make_version(make_project())
        path = artifacts.open_verified(version) / "tokenizer.json"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content + b" ")
        artifacts._verified.clear()  # as a process that has not seen them before
        with pytest.raises(artifacts.CorruptArtifact, match=r"tokenizer\.json"):
            versions.activate(version, by=None)

    def test_rolling_back_goes_further_back_each_time(self) -> None:
        project = make_project()
        for _ in range(3):
            make_version(project, active=True)
        assert versions.roll_back(project, by=None).version.number == 2
        assert versions.roll_back(project, by=None, reason="worse").version.number == 1
        with pytest.raises(versions.NothingToRollBack):
            versions.roll_back(project, by=None)
        assert states(project) == {1: "active", 2: "retired", 3: "retired"}
        assert history(project)[3:] == [("rollback", 2), ("rollback", 1)]

    def test_rolling_back_undoes_a_return_to_an_older_version(self) -> None:
        project = make_project()
        first = make_version(project, active=True)
        make_version(project, active=True)
        versions.activate(first, by=None)
        numbers = [versions.roll_back(project, by=None).version.number for _ in "ab"]
        assert numbers == [2, 1]
        with pytest.raises(versions.NothingToRollBack):
            versions.roll_back(project, by=None)

    def test_nothing_to_roll_back_without_versions(self) -> None:
        with pytest.raises(versions.NothingToRollBack):
            versions.roll_back(make_project(), by=None)


def at_once(*calls: Callable[[], object]) -> list[BaseException | None]:
    """Runs the calls in threads that start together; what each one raised."""
    barrier = threading.Barrier(len(calls))
    raised: list[BaseException | None] = [None] * len(calls)

    def run(i: int) -> None:
        try:
            barrier.wait()
            calls[i]()
        except BaseException as error:
            raised[i] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_two_activations_are_one_after_the_other(self) -> None:
        project = make_project()
        pair = [make_version(project), make_version(project)]
        assert at_once(*[lambda v=v: versions.activate(v, by=None) for v in pair]) == [
            None,
            None,
        ]
        rows = list(Activation.objects.filter(project=project).order_by("id"))
        assert {row.version for row in rows} == set(pair)
        assert rows[0].previous is None
        assert rows[1].previous == rows[0].version
        assert versions.active(project) == rows[1].version

    def test_of_two_clicks_on_one_version_one_counts(self) -> None:
        project = make_project()
        version = make_version(project)
        raised = at_once(
            *[
                lambda: versions.activate(Version.objects.get(pk=version.pk), by=None)
                for _ in range(4)
            ]
        )
        assert sorted(type(e).__name__ for e in raised) == [
            "AlreadyActive",
            "AlreadyActive",
            "AlreadyActive",
            "NoneType",
        ]
        assert history(project) == [("activate", 1)]

    def test_registrations_at_once_get_numbers_of_their_own(self) -> None:
        project = make_project()
        make_version(project)
        assert at_once(*[lambda: make_version(project) for _ in range(4)]) == [None] * 4
        assert sorted(states(project)) == [1, 2, 3, 4, 5]
