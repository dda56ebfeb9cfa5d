// Calls others with each modifier, through `daffi:runtime/call` (guests/modifiers/wit).

import * as call from "daffi:runtime/call@0.1.0";

const json = (...values) => ({ tag: "json", val: JSON.stringify(values) });

// An option that is not given; it cannot be left out.
const none = undefined;

// What a call gave, or how it failed: errors of the WIT are thrown, with the `call-error` as payload.
const told = (make) => {
  try {
    return make().val;
  } catch (error) {
    if (error.payload === undefined) throw error;
    return `${error.payload.outcome} ${error.payload.code}`;
  }
};

// What comes of a callback that is called once an item, and how that ended.
const streamed = (callback, items) => {
  const { outbound: [outbound], reply } = call.stream(callback, { tag: "json", val: "[]" }, none);
  outbound.write(items.map((item) => json(...item)));
  outbound.finish();
  const { inbound: [inbound] } = reply.wait();
  const results = [];
  const end = told(() => {
    for (;;) {
      const received = inbound.next(16);
      if (received.tag === "end") return { val: "end" };
      results.push(...received.val.map((item) => item.val));
    }
  });
  return [...results, end];
};

export const modifiers = {
  fg: () => told(() => call.fg("add", json(5, 15), none)),

  failures: () => [
    told(() => call.fg("nothing-of-the-kind", json(), none)),
    told(() => call.fg("divide", json(1, 0), none)),
  ],

  bg() {
    const pending = [1, 2, 3].map((n) => call.bg("add", json(n, n), none));
    const sums = pending.map((each) => told(() => each.wait()));
    const dropped = call.bg("hold", json("never", 60000), none);
    dropped.cancel();
    return [...sums, told(() => dropped.wait())];
  },

  broadcast() {
    const answer = ({ process, answer }) => `${process}: ${answer.tag} ${answer.val.val ?? answer.val.code}`;
    const whole = call.broadcast("who", json(), none).map(answer);
    const arrivals = call.gather("who", json(), none);
    const arrived = [];
    for (;;) {
      const { tag, val } = arrivals.next();
      if (tag === "end") return [...whole, ...arrived.sort(), val];
      arrived.push(answer(val));
    }
  },

  stream() {
    const added = streamed("add", [[1, 1], [2, 2], [3, 3]]);
    const divided = streamed("divide", [[6, 2], [1, 0], [8, 2]]);
    return [...added, ...divided];
  },

  period() {
    let task = call.schedule("who", json(), { tag: "every", val: 10 }, none);
    while (task.runs < 1) task = call.scheduledTask(task.id);
    const { callback, plan } = call.cancelTask(task.id);
    return [callback, plan, told(() => ({ val: call.scheduledTask(task.id).state }))];
  },
};
