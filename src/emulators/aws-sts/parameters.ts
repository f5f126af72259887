/** Reads the flattened lists of the AWS Query protocol (`Tags.member.1.Key=…`). Judges nothing. */

export type QueryParameters = ReadonlyMap<string, string>;

/** Form fields, the body's before the query string's. A repeated name keeps its first value. */
export function parseParameters(query: string, body: string): QueryParameters {
  const parameters = new Map<string, string>();
  for (const source of [body, query]) {
    for (const [name, value] of new URLSearchParams(source)) {
      if (!parameters.has(name)) parameters.set(name, value);
    }
  }
  return parameters;
}

/** `Name.member.1`, `Name.member.2`, …, up to the first gap. */
export function listOf(parameters: QueryParameters, name: string): string[] {
  const found: string[] = [];
  for (let index = 1; ; index += 1) {
    const value = parameters.get(`${name}.member.${index}`);
    if (value === undefined) return found;
    found.push(value);
  }
}

/** `Name.member.N.Field` for each field, up to the first N of which no field is there. */
export function recordsOf<F extends string>(
  parameters: QueryParameters,
  name: string,
  fields: readonly F[],
): Partial<Record<F, string>>[] {
  const found: Partial<Record<F, string>>[] = [];
  for (let index = 1; ; index += 1) {
    const record: Partial<Record<F, string>> = {};
    for (const field of fields) {
      const value = parameters.get(`${name}.member.${index}.${field}`);
      if (value !== undefined) record[field] = value;
    }
    if (Object.keys(record).length === 0) return found;
    found.push(record);
  }
}
