/**
 * Which tables a query uses, and for what. No SQL parser: it reads the head of each statement, and behind that looks
 * for FROM and JOIN, in subqueries too. What it does not know it passes over; it would rather name a table too many.
 */
import * as Keyword from "./keywords.ts";
import { MAX_NESTING, Scan } from "./scan.ts";
import { ALTER, CREATE, DELETE, DROP, INSERT, SELECT, Tables, UPDATE } from "./tables.ts";
import { END, SIGN, Tokens, WORD } from "./tokens.ts";

/** Statements of one query, at most; what follows is not looked at. */
const MAX_STATEMENTS: i32 = 1000;
/** Words between CREATE and what is created: ALGORITHM, DEFINER, SQL SECURITY … */
const MAX_HEAD_TOKENS: i32 = 40;
/** Bytes of a name; the servers' own bound is 64 characters. */
const MAX_NAME_BYTES: i32 = 256;
const SEMICOLON: i32 = 0x3b;
const COMMA: i32 = 0x2c;
const DOT: i32 = 0x2e;
const OPEN: i32 = 0x28;

/** What came of a query. */
export class Query {
  /** Every statement was understood. */
  valid: bool = true;
  changesDatabase: bool = false;
  /** The database that names without one belong to, after the query. */
  database: string;
  /** Statements inside of each other, now. */
  nesting: i32 = 0;
  readonly tokens: Tokens;
  private readonly tables: Tables;

  constructor(tokens: Tokens, database: string, tables: Tables) {
    this.tokens = tokens;
    this.database = database;
    this.tables = tables;
  }

  /** Reads `database.table` or `table`, and notes it. False when there is no name here. */
  table(operation: u32): bool {
    const tokens = this.tokens;
    if (!tokens.isName || (tokens.kind == WORD && Keyword.RESERVED.indexOf(tokens.word) >= 0)) return false;
    let name = tokens.name();
    let database = this.database;
    tokens.next();
    if (tokens.isSign(DOT)) {
      tokens.next();
      if (!tokens.isName) return false;
      database = name;
      name = tokens.name();
      tokens.next();
    }
    this.note(name, database, operation);
    return true;
  }

  note(name: string, database: string, operation: u32): void {
    if (name.length > MAX_NAME_BYTES || database.length > MAX_NAME_BYTES) return;
    this.tables.add(database.length == 0 ? name : name + "." + database, operation);
  }
}

/** Reads a query's text; `cut`: it goes on behind what is here. Notes the tables, those of statements that are wrong too. */
export function parseQuery(at: usize, size: usize, cut: bool, database: string, tables: Tables): Query {
  const tokens = new Tokens(at, size);
  const query = new Query(tokens, database, tables);
  let statements = 0;
  while (statements < MAX_STATEMENTS) {
    while (tokens.isSign(SEMICOLON)) tokens.next();
    if (tokens.kind == END) break;
    statements++;
    if (!statement(query) && !(cut && tokens.kind == END)) query.valid = false;
    while (tokens.kind != END && !tokens.isSign(SEMICOLON)) tokens.next();
  }
  if (statements == 0 || (tokens.broken && !cut)) query.valid = false;
  return query;
}

/** Reads one statement, or as much of it as matters; it may stand inside of another. */
export function statement(query: Query): bool {
  if (query.nesting == MAX_NESTING) return false;
  query.nesting++;
  const valid = read(query);
  query.nesting--;
  return valid;
}

function read(query: Query): bool {
  const tokens = query.tokens;
  // SELECT in parentheses.
  if (tokens.isSign(OPEN)) return new Scan(query, SELECT).run();
  if (tokens.kind != WORD) return false;
  const verb = tokens.word;
  if (verb == Keyword.SELECT || verb == Keyword.WITH || verb == Keyword.TABLE) return new Scan(query, SELECT).run();
  tokens.next();
  if (verb == Keyword.INSERT || verb == Keyword.REPLACE) return insert(query);
  if (verb == Keyword.UPDATE) return new Scan(query, UPDATE).run();
  if (verb == Keyword.DELETE) return new Scan(query, DELETE).run();
  if (verb == Keyword.CREATE) return create(query);
  if (verb == Keyword.ALTER) return alter(query);
  if (verb == Keyword.DROP) return drop(query);
  if (verb == Keyword.USE) return use(query);
  return rareStatement(query, verb);
}

function rareStatement(query: Query, verb: u64): bool {
  const tokens = query.tokens;
  if (verb == Keyword.TRUNCATE) {
    tokens.accept(Keyword.TABLE);
    return query.table(DELETE);
  }
  if (verb == Keyword.RENAME) return rename(query);
  if (verb == Keyword.LOAD) return load(query);
  if (verb == Keyword.HANDLER) return query.table(SELECT);
  if (Keyword.EXPLAINS.indexOf(verb) >= 0) return explain(query);
  if (Keyword.BODIES.indexOf(verb) >= 0) return body(query);
  if (verb == Keyword.SET && tokens.isWord(Keyword.STATEMENT)) return setStatement(query);
  // Its values may be subqueries.
  if (Keyword.VALUED.indexOf(verb) >= 0) return new Scan(query, 0).run();
  return Keyword.PLAIN.indexOf(verb) >= 0;
}

/** True when another statement begins here, inside of a compound one. */
export function begins(tokens: Tokens): bool {
  return tokens.kind == WORD && Keyword.EXPLAINED.indexOf(tokens.word) >= 0;
}

/** Behind BEGIN and its kind. */
function body(query: Query): bool {
  const tokens = query.tokens;
  if (tokens.accept(Keyword.NOT)) tokens.accept(Keyword.ATOMIC);
  return begins(tokens) ? statement(query) : new Scan(query, 0).run();
}

/** MariaDB's SET STATEMENT variable = value FOR statement. */
function setStatement(query: Query): bool {
  const tokens = query.tokens;
  while (tokens.kind != END && !tokens.isSign(SEMICOLON)) {
    if (tokens.accept(Keyword.FOR)) return statement(query);
    tokens.next();
  }
  return false;
}

function insert(query: Query): bool {
  const tokens = query.tokens;
  while (tokens.kind == WORD && Keyword.MODIFIERS.indexOf(tokens.word) >= 0) tokens.next();
  return query.table(INSERT) && new Scan(query, 0).run();
}

/** Passes over what stands between CREATE, ALTER or DROP and the kind of thing; that kind, or 0. */
function object(query: Query): u64 {
  const tokens = query.tokens;
  for (let n = 0; n < MAX_HEAD_TOKENS; n++) {
    if (tokens.kind == END || tokens.isSign(SEMICOLON)) return 0;
    const found = tokens.kind == WORD ? tokens.word : 0;
    tokens.next();
    if (found != 0 && Keyword.OBJECTS.indexOf(found) >= 0) return found;
  }
  return 0;
}

/** IF EXISTS, IF NOT EXISTS. */
function skipCondition(tokens: Tokens): void {
  if (!tokens.accept(Keyword.IF)) return;
  tokens.accept(Keyword.NOT);
  tokens.accept(Keyword.EXISTS);
}

function create(query: Query): bool {
  const tokens = query.tokens;
  const kind = object(query);
  skipCondition(tokens);
  if (kind == Keyword.TABLE || kind == Keyword.VIEW) return query.table(CREATE) && new Scan(query, 0).run();
  if (kind == Keyword.INDEX) return indexed(query);
  // The body of a routine is not run now, and has semicolons inside.
  if (Keyword.ROUTINES.indexOf(kind) >= 0) while (tokens.kind != END) tokens.next();
  return kind != 0 && (tokens.kind != END || Keyword.ROUTINES.indexOf(kind) >= 0);
}

/** CREATE INDEX and DROP INDEX are changes of the table behind ON. */
function indexed(query: Query): bool {
  const tokens = query.tokens;
  while (tokens.kind != END && !tokens.isSign(SEMICOLON)) {
    const on = tokens.isWord(Keyword.ON);
    tokens.next();
    if (on) return query.table(ALTER);
  }
  return false;
}

function alter(query: Query): bool {
  const kind = object(query);
  skipCondition(query.tokens);
  if (kind == Keyword.TABLE) return query.table(ALTER);
  if (kind == Keyword.VIEW) return query.table(ALTER) && new Scan(query, 0).run();
  return kind != 0;
}

function drop(query: Query): bool {
  const kind = object(query);
  skipCondition(query.tokens);
  if (kind == Keyword.INDEX) return indexed(query);
  if (kind == Keyword.TABLE || kind == Keyword.TABLES || kind == Keyword.VIEW) return list(query, DROP);
  return kind != 0;
}

function list(query: Query, operation: u32): bool {
  const tokens = query.tokens;
  do {
    if (tokens.isSign(COMMA)) tokens.next();
    if (!query.table(operation)) return false;
  } while (tokens.isSign(COMMA));
  return true;
}

function rename(query: Query): bool {
  const tokens = query.tokens;
  if (!tokens.accept(Keyword.TABLE) && !tokens.accept(Keyword.TABLES)) return tokens.isWord(Keyword.USER);
  skipCondition(tokens);
  do {
    if (tokens.isSign(COMMA)) tokens.next();
    if (!query.table(ALTER)) return false;
    while (tokens.kind == WORD && !tokens.isWord(Keyword.TO)) tokens.next();
    if (!tokens.accept(Keyword.TO) || !query.table(CREATE)) return false;
  } while (tokens.isSign(COMMA));
  return true;
}

/** LOAD DATA … INTO TABLE; without that (LOAD INDEX INTO CACHE) there is nothing to note. */
function load(query: Query): bool {
  const tokens = query.tokens;
  while (tokens.kind != END && !tokens.isSign(SEMICOLON)) {
    const into = tokens.isWord(Keyword.INTO);
    tokens.next();
    if (into && tokens.accept(Keyword.TABLE)) return query.table(INSERT) && new Scan(query, 0).run();
  }
  return true;
}

function use(query: Query): bool {
  if (!query.tokens.isName) return false;
  query.database = query.tokens.name();
  query.changesDatabase = true;
  return true;
}

/** What is explained may be run (ANALYZE), so it counts like itself. A table's name alone says nothing of its rows. */
function explain(query: Query): bool {
  const tokens = query.tokens;
  while (tokens.kind != END && !tokens.isSign(SEMICOLON)) {
    if (tokens.isSign(OPEN) || begins(tokens)) return statement(query);
    if (tokens.kind != SIGN && !(tokens.kind == WORD && Keyword.EXPLAINING.indexOf(tokens.word) >= 0)) break;
    tokens.next();
  }
  return true;
}
