/** Which streams of a plugin go to a candidate while it is tried beside the live version. Plain data: it crosses threads. */
export type Routing =
  | {
      readonly kind: "share";
      /** 0 to 100, of streams, or (sticky) of connections. */
      readonly percent: number;
      /** Of streams with this request header there is another share. */
      readonly header: HeaderChoice | undefined;
      /** All streams of a connection have the version that was chosen for the first one. */
      readonly sticky: boolean;
    }
  /** The candidate sees a copy of this share of the streams, and what it does has no effect. */
  | { readonly kind: "shadow"; readonly percent: number };

export interface HeaderChoice {
  /** Lower case. */
  readonly name: string;
  /** One of the header's values, exactly; undefined: any. */
  readonly value: string | undefined;
  /** 0 to 100. */
  readonly percent: number;
}
