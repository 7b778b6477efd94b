/** What an endpoint of the admin interface answers. Default: 200, plain text. */
export interface AdminAnswer {
  readonly status?: number;
  readonly contentType?: string;
  readonly body: string;
  /** Methods that would have been allowed. */
  readonly allow?: string;
}

/** A value as people read it in a browser. */
export function jsonAnswer(value: unknown): AdminAnswer {
  return { contentType: "application/json", body: `${JSON.stringify(value, null, 1)}\n` };
}
