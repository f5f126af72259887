import { expect, test } from "vitest";
import { Turns } from "../../../src/worker-agent/receivers/turns.ts";

/** Work that ends when the test says so. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

test("of three that come at once the second is skipped, and ends when the third does", async () => {
  const turns = new Turns();
  const done: string[] = [];
  const first = gate();
  const a = turns.take(async () => {
    await first.opened;
    done.push("a");
    return true;
  });
  await Promise.resolve(); // a is under way
  await Promise.resolve();
  const b = turns.take(async () => done.push("b") > 0);
  const third = gate();
  const c = turns.take(async () => {
    await third.opened;
    done.push("c");
    return true;
  });
  void b.then(() => done.push("b ended"));
  first.open();
  await a;
  third.open();
  await Promise.all([b, c, turns.idle()]);
  expect(done).toEqual(["a", "c", "b ended"]);
});

test("work that leaves off for a newer one ends as the newer one ends", async () => {
  const turns = new Turns();
  const started = gate();
  const resume = gate();
  const a = turns.take(async ({ superseded }) => {
    started.open();
    await resume.opened;
    return !superseded();
  });
  await started.opened;
  const b = turns.take(() => Promise.reject(new Error("b failed")));
  resume.open();
  await expect(a).rejects.toThrow("b failed");
  await expect(b).rejects.toThrow("b failed");
});

test("a failure is the failed one's alone", async () => {
  const turns = new Turns();
  await expect(turns.take(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await turns.take(async () => true);
  await turns.idle();
});

test("work that says false without being superseded has simply ended", async () => {
  await new Turns().take(async () => false);
});
