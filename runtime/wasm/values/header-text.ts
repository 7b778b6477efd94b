/** What a guest may put into a header: the same rules that the codec holds peers to, so that no filter can split a message. */

const NAME_CHARACTERS = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") NAME_CHARACTERS[char.charCodeAt(0)] = 1;
for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZ") NAME_CHARACTERS[char.charCodeAt(0)] = 2;

/** `name` in lower case, or undefined when it is no field name (RFC 9110 section 5.1) or pseudo-header name. */
export function fieldName(name: string): string | undefined {
  let upper = false;
  const start = name.charCodeAt(0) === 0x3a ? 1 : 0;
  if (name.length === start) return undefined;
  for (let n = start; n < name.length; n++) {
    const kind = NAME_CHARACTERS[name.charCodeAt(n)];
    if (kind === 2) upper = true;
    else if (kind !== 1) return undefined;
  }
  return upper ? name.toLowerCase() : name;
}

/** `name` in lower case, for looking up; anything goes. */
export function lowered(name: string): string {
  for (let n = 0; n < name.length; n++) {
    const code = name.charCodeAt(n);
    if (code >= 0x41 && code <= 0x5a) return name.toLowerCase();
  }
  return name;
}

/** False when `value` holds NUL, CR or LF (RFC 9110 section 5.5). */
export function isFieldValue(value: string): boolean {
  for (let n = 0; n < value.length; n++) {
    const code = value.charCodeAt(n);
    if (code <= 13 && (code === 0 || code === 10 || code === 13)) return false;
  }
  return true;
}

/**
 * A token, a target without spaces, a status: what a first line can carry without falling apart. CONNECT would turn
 * the connection upstream into a tunnel: nothing frames what follows, and the pool would use it again.
 */
const PSEUDO_VALUES: Readonly<Record<string, RegExp>> = {
  ":method": /^(?!CONNECT$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$/,
  ":path": /^[\x21-\x7e\x80-\xff]+$/,
  ":authority": /^[\x21-\x7e\x80-\xff]*$/,
  ":scheme": /^[A-Za-z][A-Za-z0-9+.-]*$/,
  ":status": /^[2-9]\d\d$/,
};

/** Whether `value` may stand in the field `name`, which begins with a colon. */
export function isPseudoValue(name: string, value: string): boolean {
  return Object.hasOwn(PSEUDO_VALUES, name) && PSEUDO_VALUES[name]!.test(value);
}

/** A flat name, value, … list with names in lower case and pseudo-headers first; undefined when something is illegal. */
export function fieldList(list: readonly string[]): string[] | undefined {
  const pseudo: string[] = [];
  const fields: string[] = [];
  for (let n = 0; n < list.length; n += 2) {
    const name = fieldName(list[n]!);
    const value = list[n + 1]!;
    if (name === undefined || !isFieldValue(value)) return undefined;
    if (name.charCodeAt(0) !== 0x3a) fields.push(name, value);
    else if (isPseudoValue(name, value) && !pseudo.includes(name)) pseudo.push(name, value);
    else return undefined;
  }
  return pseudo.length === 0 ? fields : pseudo.concat(fields);
}
