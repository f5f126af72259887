/** Whether something stays as it is: samples over time, judged by their lowest values at the start and at the end. */

export interface Flatness {
  readonly first: number;
  readonly last: number;
  /** Per minute, by least squares over all samples. */
  readonly slopePerMinute: number;
  readonly flat: boolean;
}

export interface Sample {
  readonly at: number;
  readonly value: number;
}

/**
 * @param grace what may be added between the first and the last third, in the samples' unit, besides a
 * fifth of the first: caches fill, garbage waits.
 */
export function flatness(samples: readonly Sample[], grace: number): Flatness {
  // What is being built up at the start is no leak.
  const settled = samples.slice(Math.floor(samples.length / 6));
  const third = Math.max(1, Math.floor(settled.length / 3));
  const lowest = (part: readonly Sample[]): number => Math.min(...part.map(({ value }) => value));
  const first = lowest(settled.slice(0, third));
  const last = lowest(settled.slice(-third));
  return {
    first,
    last,
    slopePerMinute: slope(settled) * 60_000,
    flat: settled.length >= 6 && last <= first * 1.2 + grace,
  };
}

function slope(samples: readonly Sample[]): number {
  const mean = (pick: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length;
  const at = mean((sample) => sample.at);
  const value = mean((sample) => sample.value);
  const above = samples.reduce((sum, s) => sum + (s.at - at) * (s.value - value), 0);
  const below = samples.reduce((sum, s) => sum + (s.at - at) ** 2, 0);
  return below === 0 ? 0 : above / below;
}
