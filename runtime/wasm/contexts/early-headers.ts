/**
 * Response headers that a guest sets before there is a response: kept, and put into the response when it comes. NGINX's host
 * lets filters do so; Envoy refuses, which ends filters whose SDK takes a refusal for a fault.
 */
import { HeaderMap } from "../../codec/headers.ts";

const COLON = 0x3a;

export class EarlyHeaders extends HeaderMap {
  /** Names of which the response's own fields go. */
  readonly #replaced = new Set<string>();

  override set(name: string, value: string): void {
    this.#replaced.add(name);
    super.set(name, value);
  }

  override remove(name: string): number {
    this.#replaced.add(name);
    return super.remove(name);
  }

  override replaceAll(list: string[]): void {
    super.replaceAll(list);
    for (let n = 0; n < list.length; n += 2) this.#replaced.add(list[n]!);
  }

  /** The response has come. Of pseudo-headers it can have one, which nobody can take from it. */
  applyTo(response: HeaderMap): void {
    for (const name of this.#replaced) if (name.charCodeAt(0) !== COLON) response.remove(name);
    const list = this.list;
    for (let n = 0; n < list.length; n += 2) {
      if (list[n]!.charCodeAt(0) !== COLON) response.add(list[n]!, list[n + 1]!);
      else if (list[n] === ":status") response.set(list[n]!, list[n + 1]!);
    }
  }
}
