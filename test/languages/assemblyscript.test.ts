/** Guests in AssemblyScript: on our SDK, and on published ones of others. */
import { speaks } from "./speak.ts";

const SOLO_LACKS = ["pairs", "body", "edges", "grpc", "grpc-fails", "queue", "queued", "metrics"];

speaks({ name: "errand" });
speaks({ name: "solo", without: SOLO_LACKS });
speaks({ name: "solo-start", tag: "solo", without: SOLO_LACKS });
speaks({ name: "gcore", global: true, without: ["grpc", "grpc-fails", "metrics", "log"] });
