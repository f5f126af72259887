/**
 * The few XML shapes of the AWS Query protocol. Owns escaping and envelopes; knows no action.
 */
import type { Refusal } from "../shared/refusal.ts";

export const STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

/** Text as XML character data, fit for element content and attribute values. */
export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\r", "&#xD;");
}

/** One element with text content; an empty string where `value` is undefined. */
export function element(name: string, value: string | number | boolean | undefined): string {
  return value === undefined ? "" : `<${name}>${escapeXml(String(value))}</${name}>`;
}

/** One element around ready XML. */
export function wrap(name: string, inner: string): string {
  return `<${name}>${inner}</${name}>`;
}

/** A successful answer of the Query protocol; `result` is ready XML. */
export function successDocument(action: string, result: string, requestId: string): string {
  const inner =
    wrap(`${action}Result`, result) + wrap("ResponseMetadata", element("RequestId", requestId));
  return `<${action}Response xmlns="${STS_NAMESPACE}">${inner}</${action}Response>\n`;
}

/** A refusal of the Query protocol. The type is `Receiver` for 5xx and `Sender` otherwise. */
export function errorDocument(refusal: Refusal, requestId: string): string {
  const inner =
    element("Type", refusal.status >= 500 ? "Receiver" : "Sender") +
    element("Code", refusal.code) +
    element("Message", refusal.message);
  const body = wrap("Error", inner) + element("RequestId", requestId);
  return `<ErrorResponse xmlns="${STS_NAMESPACE}">${body}</ErrorResponse>\n`;
}
