"""Calls others with each modifier, through `daffi:runtime/call` (guests/modifiers/wit)."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import call, poll
from wit_world.imports.call import Arrival_End, Plan_Every, Received_End
from wit_world.imports.types import Value_Json


def args(*values):
    return Value_Json(json.dumps(values))


def kind(error):
    return f"{error.outcome.name.lower().replace('_', '-')} {error.code}"


def told(make):
    """What a call gave, or how it failed: errors of the WIT are raised."""
    try:
        return make().value
    except Err as error:
        return kind(error.value)


def answer(entry):
    match entry.answer:
        case Ok(value):
            return f"{entry.process}: ok {value.value}"
        case Err(error):
            return f"{entry.process}: err {kind(error)}"


def streamed(callback, items):
    """What comes of a callback that is called once an item, and how that ended."""
    streams = call.stream(callback, args(), None)
    [outbound] = streams.outbound
    outbound.write([args(*item) for item in items])
    outbound.finish()
    [inbound] = streams.reply.wait().inbound
    results = []
    try:
        while not isinstance(received := inbound.next(16), Received_End):
            results += [item.value for item in received.value]
    except Err as error:
        return [*results, kind(error.value)]
    return [*results, "end"]


class Modifiers(exports.Modifiers):
    def fg(self):
        return told(lambda: call.fg("add", args(5, 15), None))

    def failures(self):
        return [
            told(lambda: call.fg("nothing-of-the-kind", args(), None)),
            told(lambda: call.fg("divide", args(1, 0), None)),
        ]

    def bg(self):
        pending = [call.bg("add", args(n, n), None) for n in (1, 2, 3)]
        poll.poll([each.subscribe() for each in pending])
        sums = [told(each.wait) for each in pending]
        dropped = call.bg("hold", args("never", 60000), None)
        dropped.cancel()
        return [*sums, told(dropped.wait)]

    def broadcast(self):
        whole = [answer(entry) for entry in call.broadcast("who", args(), None)]
        arrivals, arrived = call.gather("who", args(), None), []
        while not isinstance(arrival := arrivals.next(), Arrival_End):
            arrived.append(answer(arrival.value))
        return [*whole, *sorted(arrived), arrival.value.name.lower()]

    def stream(self):
        added = streamed("add", [(1, 1), (2, 2), (3, 3)])
        divided = streamed("divide", [(6, 2), (1, 0), (8, 2)])
        return [*added, *divided]

    def period(self):
        task = call.schedule("who", args(), Plan_Every(10), None)
        while task.runs < 1:
            task = call.scheduled_task(task.id)
        cancelled = call.cancel_task(task.id)
        try:
            return [call.scheduled_task(task.id).state.name]
        except Err as error:
            return [cancelled.callback, cancelled.plan, kind(error.value)]
