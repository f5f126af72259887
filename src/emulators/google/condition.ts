/**
 * The part of CEL that conditions of Credential Access Boundaries may use: `resource.name` and
 * `api.getAttribute(NAME, DEFAULT)`, `startsWith` and `==` with a text, `&&`, `||`, `!` and brackets.
 * Knows no permissions.
 */

/** What a condition may ask for. */
export interface ConditionFacts {
  readonly resourceName: string;
  readonly attributes: ReadonlyMap<string, string>;
}

export type Condition = (facts: ConditionFacts) => boolean;
type Text = (facts: ConditionFacts) => string;

const TOKEN =
  /\s*(?:('(?:\\.|[^'\\\n\r])*'|"(?:\\.|[^"\\\n\r])*")|(&&|\|\||==|[().,!])|([a-z]\w*))/giy;

type Token =
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "sign" | "word"; readonly value: string };

/** Undefined where the expression is not of this subset. */
export function parseCondition(expression: string): Condition | undefined {
  try {
    const parser = new Parser(tokensOf(expression));
    const condition = parser.either();
    return parser.atEnd() ? condition : undefined;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

function tokensOf(expression: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  const end = expression.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const match = TOKEN.exec(expression);
    if (match === null) throw new SyntaxError("unknown token");
    const [, text, sign, word] = match;
    if (text !== undefined) tokens.push({ kind: "text", value: plainOf(text.slice(1, -1)) });
    else if (sign !== undefined) tokens.push({ kind: "sign", value: sign });
    else tokens.push({ kind: "word", value: word ?? "" });
  }
  return tokens;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b" };

/** The escapes of CEL's string literals. */
function plainOf(text: string): string {
  return text.replace(
    /\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)/gu,
    (_whole, named: string) => {
      if (/^[uUx]./.test(named)) {
        return String.fromCodePoint(Number.parseInt(named.slice(1), 16));
      }
      if (/^[\\'"?`]$/.test(named)) return named;
      const known = ESCAPES[named];
      if (known === undefined) throw new SyntaxError("unknown escape");
      return known;
    },
  );
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  atEnd(): boolean {
    return this.#at === this.#tokens.length;
  }

  either(): Condition {
    const parts = [this.#both()];
    while (this.#take("||")) parts.push(this.#both());
    return (facts) => parts.some((part) => part(facts));
  }

  #both(): Condition {
    const parts = [this.#one()];
    while (this.#take("&&")) parts.push(this.#one());
    return (facts) => parts.every((part) => part(facts));
  }

  #one(): Condition {
    if (this.#take("!")) {
      const inner = this.#one();
      return (facts) => !inner(facts);
    }
    if (this.#take("(")) {
      const inner = this.either();
      this.#expect(")");
      return inner;
    }
    const subject = this.#subject();
    if (this.#take("==")) {
      const text = this.#text();
      return (facts) => subject(facts) === text;
    }
    for (const part of [".", "startsWith", "("]) this.#expect(part);
    const prefix = this.#text();
    this.#expect(")");
    return (facts) => subject(facts).startsWith(prefix);
  }

  #subject(): Text {
    if (this.#take("resource")) {
      for (const part of [".", "name"]) this.#expect(part);
      return (facts) => facts.resourceName;
    }
    for (const part of ["api", ".", "getAttribute", "("]) this.#expect(part);
    const name = this.#text();
    this.#expect(",");
    const otherwise = this.#text();
    this.#expect(")");
    return (facts) => facts.attributes.get(name) ?? otherwise;
  }

  #take(value: string): boolean {
    const token = this.#tokens[this.#at];
    if (token === undefined || token.kind === "text" || token.value !== value) return false;
    this.#at += 1;
    return true;
  }

  #expect(value: string): void {
    if (!this.#take(value)) throw new SyntaxError(`expected ${value}`);
  }

  #text(): string {
    const token = this.#tokens[this.#at];
    if (token?.kind !== "text") throw new SyntaxError("expected a text");
    this.#at += 1;
    return token.value;
  }
}
