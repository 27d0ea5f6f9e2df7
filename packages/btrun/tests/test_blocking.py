"""The facade for scripts."""

from __future__ import annotations

import threading

import pytest
from btlib.testing import DomainIdentities, make_domain_identities
from btrun import DiedError, EscalationError, Restart, Runtime, Supervision
from btrun.blocking import open_runtime
from btrun.errors import UsageError
from btrun.inspector import Inspector
from btrun.reasons import Killed, NeverLived, Stopped
from bttp.blocking import connect
from bttp.errors import AuthenticationError, BttpError, DeadlineError

from . import test_remote as remote
from .test_actor import Add, Break, Counter, Total


@pytest.fixture(scope="module")
def domain() -> DomainIdentities:
    return make_domain_identities("nas", "alice")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_script_spawns_sends_and_calls(backend: str) -> None:
    with open_runtime(backend=backend) as rt:
        counter = rt.spawn(Counter, 1, name="counter")
        assert counter.send(Add(1))
        total: int = counter.call(Add(1))
        assert total == 3
        assert rt.ref("counter").call(Total()) == 3
        assert rt.run(lambda runtime: len(runtime.inspect().actors)) == 1
        counter.stop()
        assert counter.wait_down().reason == Stopped()
        with pytest.raises(DiedError):
            counter.call(Total())


def test_many_threads_may_use_it() -> None:
    with open_runtime() as rt:
        counter = rt.spawn(Counter)
        threads = [threading.Thread(target=lambda: [counter.call(Add(1)) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter.call(Total()) == 80


def test_an_escalation_raises_out_of_the_context() -> None:
    with (  # noqa: PT012 - the whole life of the runtime is the subject
        pytest.raises(EscalationError),
        open_runtime(Runtime(supervision=Supervision(intensity=0))) as rt,
    ):
        counter = rt.spawn(Counter, restart=Restart.PERMANENT)
        counter.send(Break())
        counter.wait_down()


def test_a_runtime_in_a_thread_is_reached_by_links(domain: DomainIdentities) -> None:
    app = domain.path.child("hosts").child("nas").child("app")
    with open_runtime(Runtime(domain["nas"], app)) as rt:
        rt.spawn(Counter, name="counter")
        with (
            rt.serve(["127.0.0.1:0"], domain["nas"], roots=[domain.principal]) as server,
            connect(server.endpoints[0], domain["alice"], root=domain.principal) as link,
        ):
            (view,) = Inspector(link, app).look().actors
            assert (view.path, view.kind) == (f"{app}/counter", "Counter")
            assert server.drain(5)


def test_a_script_calls_and_kills_an_actor_of_another_runtime_and_publishes_there(domain: DomainIdentities) -> None:
    app, root = domain.path.child("hosts").child("nas").child("app"), domain.principal
    with (
        open_runtime(Runtime(domain["nas"], app)) as there,
        there.serve(["127.0.0.1:0"], domain["nas"], roots=[root]) as server,
    ):
        there.spawn(remote.Counter, name="counter")
        there.run(lambda runtime: runtime.serve_topics("news"))
        endpoints = ["127.0.0.1:1", *server.endpoints]
        with open_runtime() as rt, rt.linked(endpoints, domain["alice"], app, root=root):
            counter = rt.at(app.child("counter"))
            assert counter.call(remote.Add(2)) == 2
            assert rt.publish(app.child("news"), remote.Add(1)) == 0
            counter.kill()
            assert counter.wait_down().reason in (Killed(), NeverLived())
            assert there.run(lambda runtime: runtime.inspect().actors) == ()


def test_a_script_hears_why_there_is_no_link(domain: DomainIdentities) -> None:
    stranger = make_domain_identities("mallory", root="another")
    app = domain.path.child("app")
    with (
        open_runtime(Runtime(domain["nas"], app)) as there,
        there.serve(["127.0.0.1:0"], domain["nas"], roots=[domain.principal]) as server,
        open_runtime() as rt,
    ):
        for endpoint, who, error in (
            ("127.0.0.1:1", domain["alice"], DeadlineError),
            (server.endpoints[0], stranger["mallory"], AuthenticationError),
        ):
            linking = rt.linked([endpoint], who, app, root=domain.principal, timeout=0.5)
            with pytest.raises(error), linking:
                raise AssertionError


def test_threads_have_no_server_on_trio(domain: DomainIdentities) -> None:
    with open_runtime(Runtime(domain["nas"], domain.path.child("app")), backend="trio") as rt:
        serving = rt.serve(["127.0.0.1:0"], domain["nas"], roots=[domain.principal])
        with pytest.raises(UsageError, match="asyncio"), serving:
            raise AssertionError


def test_a_runtime_listens_only_where_it_can(domain: DomainIdentities) -> None:
    app = domain.path.child("app")
    with open_runtime(Runtime(domain["nas"], app)) as rt:
        serving = rt.serve(["no endpoint"], domain["nas"], roots=[domain.principal])
        with pytest.raises(BttpError), serving:
            raise AssertionError
