/** Goes through the rest of a statement and notes the tables behind FROM and JOIN, level by level of parentheses. */
import * as Keyword from "./keywords.ts";
import { begins, Query, statement } from "./statement.ts";
import { DELETE, SELECT, UPDATE } from "./tables.ts";
import { END, NAME, Tokens, WORD } from "./tokens.ts";

/** Statements inside of each other, at most. */
export const MAX_NESTING: i32 = 32;
/** Names that WITH gives, at most; what is behind them counts as a table. */
const MAX_GIVEN: i32 = 64;
/** Levels of parentheses; behind the last, the rest of the statement is not looked at. */
const MAX_DEPTH: i32 = 128;

// What is known about a level.
/** SELECT or DELETE has been seen: FROM is followed by tables. */
const SELECTING: u8 = 1;
/** A comma is followed by a table. */
const LISTING: u8 = 2;
/** A table has to follow. */
const EXPECTING: u8 = 4;
/** WITH has been seen, and not yet what it is for. */
const NAMING: u8 = 8;
/** The next name is one that WITH gives. */
const GIVING: u8 = 16;

const OPEN: i32 = 0x28;
const CLOSE: i32 = 0x29;
const COMMA: i32 = 0x2c;
const DOT: i32 = 0x2e;
const BRACE: i32 = 0x7b;
const SEMICOLON: i32 = 0x3b;

const levels = new StaticArray<u8>(MAX_DEPTH * MAX_NESTING);

export class Scan {
  private readonly query: Query;
  private readonly tokens: Tokens;
  /** Where this scan's levels begin: one for each statement inside of another. */
  private readonly base: i32;
  private depth: i32 = 0;
  /** Of tables on the outermost level; those inside are read. */
  private operation: u32;
  /** Names that WITH gives to subqueries: no tables. */
  private given: Array<string> | null = null;
  private valid: bool = true;

  /** `operation`: what the statement does with the tables that come first, 0 when it names none. */
  constructor(query: Query, operation: u32) {
    this.query = query;
    this.tokens = query.tokens;
    this.base = (query.nesting % MAX_NESTING) * MAX_DEPTH;
    levels[this.base] = 0;
    this.operation = operation == 0 ? SELECT : operation;
    if (operation == UPDATE) levels[this.base] = LISTING | EXPECTING;
    else if (operation == DELETE) levels[this.base] = SELECTING;
  }

  private get level(): u8 {
    return levels[this.base + this.depth];
  }
  private set level(value: u8) {
    levels[this.base + this.depth] = value;
  }

  /** To the end of the statement; false when a table is missing. */
  run(): bool {
    const tokens = this.tokens;
    while (tokens.kind != END && !(this.depth == 0 && tokens.isSign(SEMICOLON))) {
      if (tokens.isSign(OPEN)) {
        if (++this.depth == MAX_DEPTH) return this.valid;
        // Parentheses around a table, or around a subquery: either way what they hold is known soon.
        const around = levels[this.base + this.depth - 1] & EXPECTING;
        levels[this.base + this.depth - 1] &= ~EXPECTING;
        this.level = around == 0 ? 0 : EXPECTING | LISTING;
        tokens.next();
      } else if (tokens.isSign(CLOSE)) {
        this.closeLevel();
        tokens.next();
      } else if (tokens.isSign(COMMA)) {
        this.comma();
        tokens.next();
      } else if (!this.keyword()) this.other();
    }
    while (this.depth > 0) this.closeLevel();
    if ((levels[this.base] & EXPECTING) != 0) this.valid = false;
    return this.valid;
  }

  private closeLevel(): void {
    if ((this.level & EXPECTING) != 0) this.valid = false;
    if (this.depth > 0) this.depth--;
  }

  private comma(): void {
    const level = this.level;
    if ((level & EXPECTING) != 0) this.valid = false;
    if ((level & NAMING) != 0) this.level = level | GIVING;
    else if ((level & LISTING) != 0) this.level = level | EXPECTING;
  }

  /** Acts on a word that changes what is expected, and passes it. */
  private keyword(): bool {
    const tokens = this.tokens;
    if (tokens.kind != WORD) return false;
    const found = tokens.word;
    const level = this.level;
    if (found == Keyword.SELECT) {
      tokens.next();
      this.level = SELECTING;
      if (tokens.kind == END || tokens.isSign(SEMICOLON) || tokens.isWord(Keyword.FROM)) this.valid = false;
      return true;
    }
    if (found == Keyword.FROM && (level & SELECTING) != 0) this.level = level | LISTING | EXPECTING;
    else if (found == Keyword.TABLE) this.level = level | EXPECTING;
    else if (found == Keyword.WITH) this.level = level | NAMING | GIVING;
    else if ((level & NAMING) != 0 && (found == Keyword.UPDATE || found == Keyword.DELETE)) this.begin(found);
    else if ((level & LISTING) != 0) return this.inList(found);
    else if (this.depth == 0 && Keyword.BODIES.indexOf(found) >= 0) {
      tokens.next();
      if (begins(tokens) && !statement(this.query)) this.valid = false;
      return true;
    } else return false;
    tokens.next();
    return true;
  }

  /** The same in a list of tables. */
  private inList(found: u64): bool {
    const tokens = this.tokens;
    const level = this.level;
    const expecting = (level & EXPECTING) != 0;
    if (found == Keyword.JOIN || found == Keyword.STRAIGHT_JOIN) this.level = level | EXPECTING;
    else if (found == Keyword.USING || found == Keyword.ON || found == Keyword.FOR) {
      tokens.next();
      if (found == Keyword.USING) {
        // DELETE FROM a USING a JOIN b
        if (this.depth == 0 && this.operation == DELETE && !tokens.isSign(OPEN)) levels[this.base] |= EXPECTING;
      } else if (found == Keyword.ON) {
        if (tokens.isWord(Keyword.DUPLICATE)) this.endList();
      } else tokens.accept(Keyword.JOIN); // USE INDEX FOR JOIN (…)
      return true;
    } else if (found == Keyword.SET && this.depth == 0 && this.operation == UPDATE) {
      this.endList();
      levels[this.base] = 0;
    } else if (Keyword.CLAUSES.indexOf(found) >= 0) this.endList();
    else if (!expecting || !isBefore(found)) return false;
    tokens.next();
    return true;
  }

  /** WITH … UPDATE, WITH … DELETE */
  private begin(verb: u64): void {
    const updates = verb == Keyword.UPDATE;
    this.level = updates ? LISTING | EXPECTING : SELECTING;
    if (this.depth == 0) this.operation = updates ? UPDATE : DELETE;
  }

  private endList(): void {
    if ((this.level & EXPECTING) != 0) this.valid = false;
    this.level &= ~(LISTING | EXPECTING);
    if (this.depth == 0) this.operation = SELECT;
  }

  private other(): void {
    const tokens = this.tokens;
    const level = this.level;
    if ((level & GIVING) != 0) this.give();
    else if ((level & EXPECTING) == 0) tokens.next();
    else {
      // `{ OJ a LEFT OUTER JOIN b … }`
      if (tokens.isSign(BRACE)) {
        tokens.next();
        tokens.next();
        return;
      }
      this.level = level & ~EXPECTING;
      if (!tokens.isName || (tokens.kind == WORD && Keyword.RESERVED.indexOf(tokens.word) >= 0)) {
        this.valid = false;
        tokens.next();
      } else this.table();
    }
  }

  /** A name behind WITH, or a word that shows that this WITH gives none (WITH ROLLUP). */
  private give(): void {
    const tokens = this.tokens;
    if (tokens.accept(Keyword.RECURSIVE)) return;
    this.level &= ~GIVING;
    if (tokens.isName) {
      let given = this.given;
      if (given === null) this.given = given = new Array<string>();
      if (given.length < MAX_GIVEN) given.push(tokens.name());
    }
    tokens.next();
  }

  private table(): void {
    const tokens = this.tokens;
    const query = this.query;
    let name = tokens.name();
    let database = query.database;
    const bare = tokens.kind == WORD && tokens.word == Keyword.DUAL;
    const quoted = tokens.kind == NAME;
    tokens.next();
    if (tokens.isSign(DOT)) {
      tokens.next();
      if (!tokens.isName) {
        this.valid = false;
        return;
      }
      database = name;
      name = tokens.name();
      tokens.next();
    } else {
      // JSON_TABLE(…) and its kind are functions.
      if (tokens.isSign(OPEN) && !quoted) return;
      const given = this.given;
      if (bare || (given !== null && given.includes(name))) return;
    }
    query.note(name, database, this.depth == 0 ? this.operation : SELECT);
  }
}

/** Words that may stand in front of a table where one is expected. */
function isBefore(found: u64): bool {
  return found == Keyword.LOW_PRIORITY || found == Keyword.IGNORE || found == Keyword.LATERAL;
}
