/** Words that mean something to the reader of statements; see `word` in tokens.ts. */
import { word } from "./tokens.ts";

export const ALTER = word("alter");
export const ATOMIC = word("atomic");
export const CREATE = word("create");
export const DELETE = word("delete");
export const DROP = word("drop");
export const DUPLICATE = word("duplicate");
export const DUAL = word("dual");
export const EXISTS = word("exists");
export const FOR = word("for");
export const FROM = word("from");
export const HANDLER = word("handler");
export const IF = word("if");
export const IGNORE = word("ignore");
export const INDEX = word("index");
export const INSERT = word("insert");
export const INTO = word("into");
export const JOIN = word("join");
export const LATERAL = word("lateral");
export const LOAD = word("load");
export const LOW_PRIORITY = word("low_priority");
export const NOT = word("not");
export const ON = word("on");
export const RECURSIVE = word("recursive");
export const RENAME = word("rename");
export const REPLACE = word("replace");
export const SELECT = word("select");
export const SET = word("set");
export const STATEMENT = word("statement");
export const STRAIGHT_JOIN = word("straight_join");
export const TABLE = word("table");
export const TABLES = word("tables");
export const TO = word("to");
export const TRUNCATE = word("truncate");
export const UPDATE = word("update");
export const USE = word("use");
export const USER = word("user");
export const USING = word("using");
export const VIEW = word("view");
export const WITH = word("with");

function words(text: string): StaticArray<u64> {
  const parts = text.split(" ");
  const list = new StaticArray<u64>(parts.length);
  for (let n = 0; n < parts.length; n++) list[n] = word(parts[n]);
  return list;
}

/** Between INSERT or REPLACE and the table. */
export const MODIFIERS = words("low_priority delayed high_priority ignore into");
/** Things that are created, altered and dropped. */
export const OBJECTS = words(
  "table tables view index database schema event function procedure trigger user role server sequence tablespace logfile package undo instance prepare resource",
);
/** Those with a body of statements. */
export const ROUTINES = words("event function procedure trigger package");
/** End the list of tables behind FROM. Only words that no server takes for a name: an alias must not hide what follows it. */
export const CLAUSES = words("where group having order limit procedure union into fetch");
/** Cannot be the name of a table, unless quoted. */
export const RESERVED = words(
  "where group having order limit for procedure union into values select from join on using set by and or inner left right cross natural",
);
/** Statements without tables of their own, but with values. */
export const VALUED = words("set call return values if while until case when elseif declare execute signal for");
/** Statements that use no table, or none that is told. */
export const PLAIN = words(
  "show begin start commit rollback savepoint release lock unlock flush kill grant revoke prepare deallocate optimize repair check checksum cache xa help reset purge change stop install uninstall binlog shutdown backup clone restart import resignal get open fetch close end leave iterate",
);
/** Tell about another statement. */
export const EXPLAINS = words("explain describe desc analyze");
/** Words of compound statements behind which another statement begins. */
export const BODIES = words("begin then else do loop repeat");
/** What EXPLAIN explains; and what may begin inside of a compound statement. */
export const EXPLAINED = words("select insert update delete replace with table");
/** What may stand between. */
export const EXPLAINING = words("extended partitions format json tree traditional analyze");
