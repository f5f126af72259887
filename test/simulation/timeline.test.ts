import { expect, test } from "vitest";
import { Timeline } from "./timeline.ts";

const NEVER = (): boolean => false;

async function live(timeline: Timeline, end: number): Promise<void> {
  for (const underWay of timeline.runUntil(end, NEVER)) await underWay;
}

test("errands come back in the order in which they were sent, at the time at which they were sent", async () => {
  const timeline = new Timeline();
  const seen: string[] = [];
  const note = (what: string): void => void seen.push(`${what} at ${timeline.now}`);
  let finish: (value: string) => void = () => undefined;
  const slow = new Promise<string>((resolve) => {
    finish = resolve;
  });
  timeline.after(1, () => {
    timeline.send(slow, note);
    // Done first: it is what lets the other one be done.
    timeline.send(
      Promise.resolve("second").then((value) => {
        finish("first");
        return value;
      }),
      note,
    );
  });
  timeline.after(1, () => note("another event"));
  timeline.after(2, () => note("a later event"));
  await live(timeline, 10);
  expect(seen).toEqual(["first at 1", "second at 1", "another event at 1", "a later event at 2"]);
});

test("what an errand leads to is waited for as well, before anything else happens", async () => {
  const timeline = new Timeline();
  const seen: string[] = [];
  timeline.send(Promise.resolve(), () => {
    timeline.send(Promise.resolve(), () => void seen.push("the errand of an errand"));
  });
  timeline.after(0, () => void seen.push("an event"));
  await live(timeline, 1);
  expect(seen).toEqual(["the errand of an errand", "an event"]);
});

test("without errands nothing is waited for", () => {
  const timeline = new Timeline();
  timeline.after(1, () => timeline.after(1, () => undefined));
  expect([...timeline.runUntil(5, NEVER)]).toEqual([]);
  expect([timeline.now, timeline.count]).toEqual([5, 2]);
});
