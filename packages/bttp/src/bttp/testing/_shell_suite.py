"""What every shell must do, whatever it runs on.

A shell under test is a way to serve a router and a way to connect to it, both as context managers for a plain thread.
`check_shell` raises AssertionError at the first difference from what the documents promise.
"""

from __future__ import annotations

from collections.abc import Callable

from . import _suite_calls as calls
from . import _suite_keys as keys
from . import _suite_reconnecting as reconnecting
from . import _suite_rights as rights
from . import _suite_streams as streams
from . import _suite_topics as topics
from ._stage import ShellUnderTest

CHECKS: tuple[Callable[[ShellUnderTest], None], ...] = (
    calls.check_calls,
    calls.check_many_at_once,
    calls.check_sends,
    calls.check_errors,
    calls.check_deadline,
    calls.check_limits,
    calls.check_close,
    calls.check_drain,
    calls.check_refusals,
    streams.check_streams,
    streams.check_stream_back_pressure,
    streams.check_stream_cancellation,
    streams.check_stream_failures,
    streams.check_streams_end_with_their_link,
    topics.check_topics,
    topics.check_slow_subscribers,
    topics.check_a_server_publishes_without_a_link,
    keys.check_repeated_keys,
    keys.check_a_keyed_call_outlives_its_link,
    keys.check_traces,
    keys.check_another_server_never_does_it_again,
    reconnecting.check_a_lost_link_is_made_again,
    reconnecting.check_a_call_with_a_key_survives_its_link,
    reconnecting.check_calls_wait_for_a_link_until_their_deadline,
    reconnecting.check_the_first_endpoint_that_answers_wins,
    reconnecting.check_endpoints_are_asked_for_before_each_round,
    reconnecting.check_a_server_that_goes_away_loses_nothing,
    reconnecting.check_subscriptions_go_on_and_say_so,
    reconnecting.check_draining_does_not_wait_for_subscribers,
    reconnecting.check_a_drained_link_ends,
    reconnecting.check_a_renewed_identity_speaks_on_this_link_and_the_next,
    reconnecting.check_a_refusal_of_a_handler_is_not_repeated,
    rights.check_another_principal_joins_an_open_link,
    rights.check_a_link_ends_with_the_rights_of_its_peer_unless_they_are_renewed,
    rights.check_revocations_reach_what_is_under_way,
    rights.check_a_client_leaves_a_server_that_was_revoked,
    rights.check_links_work_as_ever_after_a_recheck,
)


def check_shell(shell: ShellUnderTest) -> None:
    """All of the suite."""
    for check in CHECKS:
        check(shell)
