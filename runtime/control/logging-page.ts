/** `/logging`: shows the levels of the process log's components and changes them. */
import { ProxyError } from "../errors.ts";
import { LOG_LEVELS, parseLogLevel } from "../observe/log.ts";
import type { LogLevel } from "../observe/log.ts";
import type { AdminAnswer } from "./admin-answer.ts";
import type { AdminSubject } from "./subject.ts";

/** `?level=L`, `?paths=a:L,b:L` or `?a=L`; nothing changes unless all of it can be understood. */
export async function changeLogging(subject: AdminSubject, parameters: URLSearchParams): Promise<AdminAnswer> {
  const known = new Set(subject.logLevels().map(([component]) => component));
  let changes: readonly Change[];
  try {
    changes = readChanges(parameters, known);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return {
      status: 400,
      body: `${error.message}\nusage: /logging?level=<level>, /logging?paths=name1:level1,name2:level2\nlevels: ${LOG_LEVELS.join(" ")}\n`,
    };
  }
  await Promise.all(changes.map(({ component, level }) => subject.setLogLevel(level, component)));
  const lines = subject.logLevels().map(([component, level]) => `  ${component}: ${level}\n`);
  return { body: `active loggers:\n${lines.join("")}` };
}

interface Change {
  readonly component: string | undefined;
  readonly level: LogLevel;
}

function readChanges(parameters: URLSearchParams, known: ReadonlySet<string>): Change[] {
  const changes: Change[] = [];
  for (const [name, value] of parameters) {
    if (name === "level") changes.push({ component: undefined, level: parseLogLevel(value) });
    else if (name === "paths") changes.push(...readComponentLevels(value, known));
    else changes.push(change(name, value, known));
  }
  return changes;
}

/** Reads `a:debug,b:info`. Throws ProxyError for a level or component that is unknown. */
function readComponentLevels(text: string, known: ReadonlySet<string>): Change[] {
  return text.split(",").map((pair) => {
    const [component = "", level = ""] = pair.split(":");
    return change(component, level, known);
  });
}

function change(component: string, level: string, known: ReadonlySet<string>): Change {
  if (!known.has(component)) throw new ProxyError("logger_unknown", "config", `there is no logger "${component}"`);
  return { component, level: parseLogLevel(level) };
}
