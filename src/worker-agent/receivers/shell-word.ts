/** Quoting for POSIX shells. Pure. */

/** The text as one word, whatever is in it (but NUL, which no shell can hold). */
export const shellWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
