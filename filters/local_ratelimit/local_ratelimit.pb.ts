// Generated from envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto by filters/build. Changes are overwritten.

import { Reader } from "../sdk/wire-reader.ts";
import { Writer } from "../sdk/wire-writer.ts";

export class HeaderValue {
  key: string = "";
  value: string = "";
  rawValue: ArrayBuffer = new ArrayBuffer(0);

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): HeaderValue | null {
    const reader = new Reader(bytes);
    const message = new HeaderValue();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.key = reader.string();
          break;
        }
        case 18: {
          this.value = reader.string();
          break;
        }
        case 26: {
          this.rawValue = reader.byteString();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.key.length > 0) {
      writer.tag(10);
      writer.string(this.key);
    }
    if (this.value.length > 0) {
      writer.tag(18);
      writer.string(this.value);
    }
    if (this.rawValue.byteLength > 0) {
      writer.tag(26);
      writer.byteString(this.rawValue);
    }
  }
}

export class HeaderValueOption {
  header: HeaderValue | null = null;
  append: BoolValue | null = null;
  appendAction: i32 = 0;
  keepEmptyValue: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): HeaderValueOption | null {
    const reader = new Reader(bytes);
    const message = new HeaderValueOption();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.header;
          if (value === null) this.header = value = new HeaderValue();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          let value = this.append;
          if (value === null) this.append = value = new BoolValue();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 24: {
          this.appendAction = reader.int32();
          break;
        }
        case 32: {
          this.keepEmptyValue = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const header = this.header;
    if (header !== null) {
      writer.tag(10);
      const start = writer.enter();
      header.write(writer);
      writer.exit(start);
    }
    const append = this.append;
    if (append !== null) {
      writer.tag(18);
      const start = writer.enter();
      append.write(writer);
      writer.exit(start);
    }
    if (this.appendAction != 0) {
      writer.tag(24);
      writer.int32(this.appendAction);
    }
    if (this.keepEmptyValue) {
      writer.tag(32);
      writer.bool(this.keepEmptyValue);
    }
  }
}

export enum HeaderValueOptionHeaderAppendAction {
  APPEND_IF_EXISTS_OR_ADD = 0,
  ADD_IF_ABSENT = 1,
  OVERWRITE_IF_EXISTS_OR_ADD = 2,
  OVERWRITE_IF_EXISTS = 3,
}

export class RuntimeFractionalPercent {
  defaultValue: FractionalPercent | null = null;
  runtimeKey: string = "";

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RuntimeFractionalPercent | null {
    const reader = new Reader(bytes);
    const message = new RuntimeFractionalPercent();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.defaultValue;
          if (value === null) this.defaultValue = value = new FractionalPercent();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          this.runtimeKey = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const defaultValue = this.defaultValue;
    if (defaultValue !== null) {
      writer.tag(10);
      const start = writer.enter();
      defaultValue.write(writer);
      writer.exit(start);
    }
    if (this.runtimeKey.length > 0) {
      writer.tag(18);
      writer.string(this.runtimeKey);
    }
  }
}

export class ConfigCoreV3TypedExtensionConfig {
  name: string = "";
  typedConfig: Any | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): ConfigCoreV3TypedExtensionConfig | null {
    const reader = new Reader(bytes);
    const message = new ConfigCoreV3TypedExtensionConfig();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.name = reader.string();
          break;
        }
        case 18: {
          let value = this.typedConfig;
          if (value === null) this.typedConfig = value = new Any();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.name.length > 0) {
      writer.tag(10);
      writer.string(this.name);
    }
    const typedConfig = this.typedConfig;
    if (typedConfig !== null) {
      writer.tag(18);
      const start = writer.enter();
      typedConfig.write(writer);
      writer.exit(start);
    }
  }
}

/** Which field of `header_match_specifier` is set. */
export enum HeaderMatcherHeaderMatchSpecifierCase {
  NONE = 0,
  EXACT_MATCH = 4,
  SAFE_REGEX_MATCH = 11,
  RANGE_MATCH = 6,
  PRESENT_MATCH = 7,
  PREFIX_MATCH = 9,
  SUFFIX_MATCH = 10,
  CONTAINS_MATCH = 12,
  STRING_MATCH = 13,
}

export class HeaderMatcher {
  name: string = "";
  exactMatch: string = "";
  safeRegexMatch: RegexMatcher | null = null;
  rangeMatch: Int64Range | null = null;
  presentMatch: bool = false;
  prefixMatch: string = "";
  suffixMatch: string = "";
  containsMatch: string = "";
  stringMatch: StringMatcher | null = null;
  invertMatch: bool = false;
  treatMissingHeaderAsEmpty: bool = false;
  headerMatchSpecifierCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): HeaderMatcher | null {
    const reader = new Reader(bytes);
    const message = new HeaderMatcher();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.name = reader.string();
          break;
        }
        case 34: {
          this.exactMatch = reader.string();
          this.headerMatchSpecifierCase = 4;
          break;
        }
        case 90: {
          let value = this.safeRegexMatch;
          if (value === null) this.safeRegexMatch = value = new RegexMatcher();
          this.headerMatchSpecifierCase = 11;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 50: {
          let value = this.rangeMatch;
          if (value === null) this.rangeMatch = value = new Int64Range();
          this.headerMatchSpecifierCase = 6;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 56: {
          this.presentMatch = reader.bool();
          this.headerMatchSpecifierCase = 7;
          break;
        }
        case 74: {
          this.prefixMatch = reader.string();
          this.headerMatchSpecifierCase = 9;
          break;
        }
        case 82: {
          this.suffixMatch = reader.string();
          this.headerMatchSpecifierCase = 10;
          break;
        }
        case 98: {
          this.containsMatch = reader.string();
          this.headerMatchSpecifierCase = 12;
          break;
        }
        case 106: {
          let value = this.stringMatch;
          if (value === null) this.stringMatch = value = new StringMatcher();
          this.headerMatchSpecifierCase = 13;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 64: {
          this.invertMatch = reader.bool();
          break;
        }
        case 112: {
          this.treatMissingHeaderAsEmpty = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.name.length > 0) {
      writer.tag(10);
      writer.string(this.name);
    }
    if (this.headerMatchSpecifierCase == 4) {
      writer.tag(34);
      writer.string(this.exactMatch);
    }
    const safeRegexMatch = this.safeRegexMatch;
    if (safeRegexMatch !== null) {
      writer.tag(90);
      const start = writer.enter();
      safeRegexMatch.write(writer);
      writer.exit(start);
    }
    const rangeMatch = this.rangeMatch;
    if (rangeMatch !== null) {
      writer.tag(50);
      const start = writer.enter();
      rangeMatch.write(writer);
      writer.exit(start);
    }
    if (this.headerMatchSpecifierCase == 7) {
      writer.tag(56);
      writer.bool(this.presentMatch);
    }
    if (this.headerMatchSpecifierCase == 9) {
      writer.tag(74);
      writer.string(this.prefixMatch);
    }
    if (this.headerMatchSpecifierCase == 10) {
      writer.tag(82);
      writer.string(this.suffixMatch);
    }
    if (this.headerMatchSpecifierCase == 12) {
      writer.tag(98);
      writer.string(this.containsMatch);
    }
    const stringMatch = this.stringMatch;
    if (stringMatch !== null) {
      writer.tag(106);
      const start = writer.enter();
      stringMatch.write(writer);
      writer.exit(start);
    }
    if (this.invertMatch) {
      writer.tag(64);
      writer.bool(this.invertMatch);
    }
    if (this.treatMissingHeaderAsEmpty) {
      writer.tag(112);
      writer.bool(this.treatMissingHeaderAsEmpty);
    }
  }
}

/** Which field of `query_parameter_match_specifier` is set. */
export enum QueryParameterMatcherQueryParameterMatchSpecifierCase {
  NONE = 0,
  STRING_MATCH = 5,
  PRESENT_MATCH = 6,
}

export class QueryParameterMatcher {
  name: string = "";
  stringMatch: StringMatcher | null = null;
  presentMatch: bool = false;
  queryParameterMatchSpecifierCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): QueryParameterMatcher | null {
    const reader = new Reader(bytes);
    const message = new QueryParameterMatcher();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.name = reader.string();
          break;
        }
        case 42: {
          let value = this.stringMatch;
          if (value === null) this.stringMatch = value = new StringMatcher();
          this.queryParameterMatchSpecifierCase = 5;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 48: {
          this.presentMatch = reader.bool();
          this.queryParameterMatchSpecifierCase = 6;
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.name.length > 0) {
      writer.tag(10);
      writer.string(this.name);
    }
    const stringMatch = this.stringMatch;
    if (stringMatch !== null) {
      writer.tag(42);
      const start = writer.enter();
      stringMatch.write(writer);
      writer.exit(start);
    }
    if (this.queryParameterMatchSpecifierCase == 6) {
      writer.tag(48);
      writer.bool(this.presentMatch);
    }
  }
}

export class RateLimit {
  stage: UInt32Value | null = null;
  disableKey: string = "";
  actions: Array<RateLimitAction> = [];
  limit: RateLimitOverride | null = null;
  hitsAddend: RateLimitHitsAddend | null = null;
  applyOnStreamDone: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimit | null {
    const reader = new Reader(bytes);
    const message = new RateLimit();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.stage;
          if (value === null) this.stage = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          this.disableKey = reader.string();
          break;
        }
        case 26: {
          const value = new RateLimitAction();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.actions.push(value);
          break;
        }
        case 34: {
          let value = this.limit;
          if (value === null) this.limit = value = new RateLimitOverride();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 42: {
          let value = this.hitsAddend;
          if (value === null) this.hitsAddend = value = new RateLimitHitsAddend();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 48: {
          this.applyOnStreamDone = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const stage = this.stage;
    if (stage !== null) {
      writer.tag(10);
      const start = writer.enter();
      stage.write(writer);
      writer.exit(start);
    }
    if (this.disableKey.length > 0) {
      writer.tag(18);
      writer.string(this.disableKey);
    }
    for (let i = 0; i < this.actions.length; i++) {
      writer.tag(26);
      const start = writer.enter();
      this.actions[i].write(writer);
      writer.exit(start);
    }
    const limit = this.limit;
    if (limit !== null) {
      writer.tag(34);
      const start = writer.enter();
      limit.write(writer);
      writer.exit(start);
    }
    const hitsAddend = this.hitsAddend;
    if (hitsAddend !== null) {
      writer.tag(42);
      const start = writer.enter();
      hitsAddend.write(writer);
      writer.exit(start);
    }
    if (this.applyOnStreamDone) {
      writer.tag(48);
      writer.bool(this.applyOnStreamDone);
    }
  }
}

/** Which field of `action_specifier` is set. */
export enum RateLimitActionActionSpecifierCase {
  NONE = 0,
  SOURCE_CLUSTER = 1,
  DESTINATION_CLUSTER = 2,
  REQUEST_HEADERS = 3,
  REMOTE_ADDRESS = 4,
  GENERIC_KEY = 5,
  HEADER_VALUE_MATCH = 6,
  DYNAMIC_METADATA = 7,
  METADATA = 8,
  EXTENSION = 9,
  MASKED_REMOTE_ADDRESS = 10,
  QUERY_PARAMETER_VALUE_MATCH = 11,
}

export class RateLimitAction {
  sourceCluster: RateLimitActionSourceCluster | null = null;
  destinationCluster: RateLimitActionDestinationCluster | null = null;
  requestHeaders: RateLimitActionRequestHeaders | null = null;
  remoteAddress: RateLimitActionRemoteAddress | null = null;
  genericKey: RateLimitActionGenericKey | null = null;
  headerValueMatch: RateLimitActionHeaderValueMatch | null = null;
  dynamicMetadata: RateLimitActionDynamicMetaData | null = null;
  metadata: RateLimitActionMetaData | null = null;
  extension: ConfigCoreV3TypedExtensionConfig | null = null;
  maskedRemoteAddress: RateLimitActionMaskedRemoteAddress | null = null;
  queryParameterValueMatch: RateLimitActionQueryParameterValueMatch | null = null;
  queryParameters: RateLimitActionQueryParameters | null = null;
  actionSpecifierCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitAction | null {
    const reader = new Reader(bytes);
    const message = new RateLimitAction();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.sourceCluster;
          if (value === null) this.sourceCluster = value = new RateLimitActionSourceCluster();
          this.actionSpecifierCase = 1;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          let value = this.destinationCluster;
          if (value === null) this.destinationCluster = value = new RateLimitActionDestinationCluster();
          this.actionSpecifierCase = 2;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          let value = this.requestHeaders;
          if (value === null) this.requestHeaders = value = new RateLimitActionRequestHeaders();
          this.actionSpecifierCase = 3;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 34: {
          let value = this.remoteAddress;
          if (value === null) this.remoteAddress = value = new RateLimitActionRemoteAddress();
          this.actionSpecifierCase = 4;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 42: {
          let value = this.genericKey;
          if (value === null) this.genericKey = value = new RateLimitActionGenericKey();
          this.actionSpecifierCase = 5;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 50: {
          let value = this.headerValueMatch;
          if (value === null) this.headerValueMatch = value = new RateLimitActionHeaderValueMatch();
          this.actionSpecifierCase = 6;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 58: {
          let value = this.dynamicMetadata;
          if (value === null) this.dynamicMetadata = value = new RateLimitActionDynamicMetaData();
          this.actionSpecifierCase = 7;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 66: {
          let value = this.metadata;
          if (value === null) this.metadata = value = new RateLimitActionMetaData();
          this.actionSpecifierCase = 8;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 74: {
          let value = this.extension;
          if (value === null) this.extension = value = new ConfigCoreV3TypedExtensionConfig();
          this.actionSpecifierCase = 9;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 82: {
          let value = this.maskedRemoteAddress;
          if (value === null) this.maskedRemoteAddress = value = new RateLimitActionMaskedRemoteAddress();
          this.actionSpecifierCase = 10;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 90: {
          let value = this.queryParameterValueMatch;
          if (value === null) this.queryParameterValueMatch = value = new RateLimitActionQueryParameterValueMatch();
          this.actionSpecifierCase = 11;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 98: {
          let value = this.queryParameters;
          if (value === null) this.queryParameters = value = new RateLimitActionQueryParameters();
          this.actionSpecifierCase = 12;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const sourceCluster = this.sourceCluster;
    if (sourceCluster !== null) {
      writer.tag(10);
      const start = writer.enter();
      sourceCluster.write(writer);
      writer.exit(start);
    }
    const destinationCluster = this.destinationCluster;
    if (destinationCluster !== null) {
      writer.tag(18);
      const start = writer.enter();
      destinationCluster.write(writer);
      writer.exit(start);
    }
    const requestHeaders = this.requestHeaders;
    if (requestHeaders !== null) {
      writer.tag(26);
      const start = writer.enter();
      requestHeaders.write(writer);
      writer.exit(start);
    }
    const remoteAddress = this.remoteAddress;
    if (remoteAddress !== null) {
      writer.tag(34);
      const start = writer.enter();
      remoteAddress.write(writer);
      writer.exit(start);
    }
    const genericKey = this.genericKey;
    if (genericKey !== null) {
      writer.tag(42);
      const start = writer.enter();
      genericKey.write(writer);
      writer.exit(start);
    }
    const headerValueMatch = this.headerValueMatch;
    if (headerValueMatch !== null) {
      writer.tag(50);
      const start = writer.enter();
      headerValueMatch.write(writer);
      writer.exit(start);
    }
    const dynamicMetadata = this.dynamicMetadata;
    if (dynamicMetadata !== null) {
      writer.tag(58);
      const start = writer.enter();
      dynamicMetadata.write(writer);
      writer.exit(start);
    }
    const metadata = this.metadata;
    if (metadata !== null) {
      writer.tag(66);
      const start = writer.enter();
      metadata.write(writer);
      writer.exit(start);
    }
    const extension = this.extension;
    if (extension !== null) {
      writer.tag(74);
      const start = writer.enter();
      extension.write(writer);
      writer.exit(start);
    }
    const maskedRemoteAddress = this.maskedRemoteAddress;
    if (maskedRemoteAddress !== null) {
      writer.tag(82);
      const start = writer.enter();
      maskedRemoteAddress.write(writer);
      writer.exit(start);
    }
    const queryParameterValueMatch = this.queryParameterValueMatch;
    if (queryParameterValueMatch !== null) {
      writer.tag(90);
      const start = writer.enter();
      queryParameterValueMatch.write(writer);
      writer.exit(start);
    }
    const queryParameters = this.queryParameters;
    if (queryParameters !== null) {
      writer.tag(98);
      const start = writer.enter();
      queryParameters.write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitActionDestinationCluster {
  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionDestinationCluster | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionDestinationCluster();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        default:
          reader.skip(tag);
      }
    }
  }

  write(_writer: Writer): void {
  }
}

export class RateLimitActionDynamicMetaData {
  descriptorKey: string = "";
  metadataKey: MetadataKey | null = null;
  defaultValue: string = "";

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionDynamicMetaData | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionDynamicMetaData();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.descriptorKey = reader.string();
          break;
        }
        case 18: {
          let value = this.metadataKey;
          if (value === null) this.metadataKey = value = new MetadataKey();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          this.defaultValue = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.descriptorKey.length > 0) {
      writer.tag(10);
      writer.string(this.descriptorKey);
    }
    const metadataKey = this.metadataKey;
    if (metadataKey !== null) {
      writer.tag(18);
      const start = writer.enter();
      metadataKey.write(writer);
      writer.exit(start);
    }
    if (this.defaultValue.length > 0) {
      writer.tag(26);
      writer.string(this.defaultValue);
    }
  }
}

export class RateLimitActionGenericKey {
  descriptorValue: string = "";
  descriptorKey: string = "";

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionGenericKey | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionGenericKey();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.descriptorValue = reader.string();
          break;
        }
        case 18: {
          this.descriptorKey = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.descriptorValue.length > 0) {
      writer.tag(10);
      writer.string(this.descriptorValue);
    }
    if (this.descriptorKey.length > 0) {
      writer.tag(18);
      writer.string(this.descriptorKey);
    }
  }
}

export class RateLimitActionHeaderValueMatch {
  descriptorKey: string = "";
  descriptorValue: string = "";
  expectMatch: BoolValue | null = null;
  headers: Array<HeaderMatcher> = [];

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionHeaderValueMatch | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionHeaderValueMatch();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 34: {
          this.descriptorKey = reader.string();
          break;
        }
        case 10: {
          this.descriptorValue = reader.string();
          break;
        }
        case 18: {
          let value = this.expectMatch;
          if (value === null) this.expectMatch = value = new BoolValue();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          const value = new HeaderMatcher();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.headers.push(value);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.descriptorKey.length > 0) {
      writer.tag(34);
      writer.string(this.descriptorKey);
    }
    if (this.descriptorValue.length > 0) {
      writer.tag(10);
      writer.string(this.descriptorValue);
    }
    const expectMatch = this.expectMatch;
    if (expectMatch !== null) {
      writer.tag(18);
      const start = writer.enter();
      expectMatch.write(writer);
      writer.exit(start);
    }
    for (let i = 0; i < this.headers.length; i++) {
      writer.tag(26);
      const start = writer.enter();
      this.headers[i].write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitActionMaskedRemoteAddress {
  v4PrefixMaskLen: UInt32Value | null = null;
  v6PrefixMaskLen: UInt32Value | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionMaskedRemoteAddress | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionMaskedRemoteAddress();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.v4PrefixMaskLen;
          if (value === null) this.v4PrefixMaskLen = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          let value = this.v6PrefixMaskLen;
          if (value === null) this.v6PrefixMaskLen = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const v4PrefixMaskLen = this.v4PrefixMaskLen;
    if (v4PrefixMaskLen !== null) {
      writer.tag(10);
      const start = writer.enter();
      v4PrefixMaskLen.write(writer);
      writer.exit(start);
    }
    const v6PrefixMaskLen = this.v6PrefixMaskLen;
    if (v6PrefixMaskLen !== null) {
      writer.tag(18);
      const start = writer.enter();
      v6PrefixMaskLen.write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitActionMetaData {
  descriptorKey: string = "";
  metadataKey: MetadataKey | null = null;
  defaultValue: string = "";
  source: i32 = 0;
  skipIfAbsent: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionMetaData | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionMetaData();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.descriptorKey = reader.string();
          break;
        }
        case 18: {
          let value = this.metadataKey;
          if (value === null) this.metadataKey = value = new MetadataKey();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          this.defaultValue = reader.string();
          break;
        }
        case 32: {
          this.source = reader.int32();
          break;
        }
        case 40: {
          this.skipIfAbsent = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.descriptorKey.length > 0) {
      writer.tag(10);
      writer.string(this.descriptorKey);
    }
    const metadataKey = this.metadataKey;
    if (metadataKey !== null) {
      writer.tag(18);
      const start = writer.enter();
      metadataKey.write(writer);
      writer.exit(start);
    }
    if (this.defaultValue.length > 0) {
      writer.tag(26);
      writer.string(this.defaultValue);
    }
    if (this.source != 0) {
      writer.tag(32);
      writer.int32(this.source);
    }
    if (this.skipIfAbsent) {
      writer.tag(40);
      writer.bool(this.skipIfAbsent);
    }
  }
}

export enum RateLimitActionMetaDataSource {
  DYNAMIC = 0,
  ROUTE_ENTRY = 1,
}

export class RateLimitActionQueryParameterValueMatch {
  descriptorKey: string = "";
  descriptorValue: string = "";
  expectMatch: BoolValue | null = null;
  queryParameters: Array<QueryParameterMatcher> = [];

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionQueryParameterValueMatch | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionQueryParameterValueMatch();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 34: {
          this.descriptorKey = reader.string();
          break;
        }
        case 10: {
          this.descriptorValue = reader.string();
          break;
        }
        case 18: {
          let value = this.expectMatch;
          if (value === null) this.expectMatch = value = new BoolValue();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          const value = new QueryParameterMatcher();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.queryParameters.push(value);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.descriptorKey.length > 0) {
      writer.tag(34);
      writer.string(this.descriptorKey);
    }
    if (this.descriptorValue.length > 0) {
      writer.tag(10);
      writer.string(this.descriptorValue);
    }
    const expectMatch = this.expectMatch;
    if (expectMatch !== null) {
      writer.tag(18);
      const start = writer.enter();
      expectMatch.write(writer);
      writer.exit(start);
    }
    for (let i = 0; i < this.queryParameters.length; i++) {
      writer.tag(26);
      const start = writer.enter();
      this.queryParameters[i].write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitActionQueryParameters {
  queryParameterName: string = "";
  descriptorKey: string = "";
  skipIfAbsent: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionQueryParameters | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionQueryParameters();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.queryParameterName = reader.string();
          break;
        }
        case 18: {
          this.descriptorKey = reader.string();
          break;
        }
        case 24: {
          this.skipIfAbsent = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.queryParameterName.length > 0) {
      writer.tag(10);
      writer.string(this.queryParameterName);
    }
    if (this.descriptorKey.length > 0) {
      writer.tag(18);
      writer.string(this.descriptorKey);
    }
    if (this.skipIfAbsent) {
      writer.tag(24);
      writer.bool(this.skipIfAbsent);
    }
  }
}

export class RateLimitActionRemoteAddress {
  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionRemoteAddress | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionRemoteAddress();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        default:
          reader.skip(tag);
      }
    }
  }

  write(_writer: Writer): void {
  }
}

export class RateLimitActionRequestHeaders {
  headerName: string = "";
  descriptorKey: string = "";
  skipIfAbsent: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionRequestHeaders | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionRequestHeaders();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.headerName = reader.string();
          break;
        }
        case 18: {
          this.descriptorKey = reader.string();
          break;
        }
        case 24: {
          this.skipIfAbsent = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.headerName.length > 0) {
      writer.tag(10);
      writer.string(this.headerName);
    }
    if (this.descriptorKey.length > 0) {
      writer.tag(18);
      writer.string(this.descriptorKey);
    }
    if (this.skipIfAbsent) {
      writer.tag(24);
      writer.bool(this.skipIfAbsent);
    }
  }
}

export class RateLimitActionSourceCluster {
  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitActionSourceCluster | null {
    const reader = new Reader(bytes);
    const message = new RateLimitActionSourceCluster();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        default:
          reader.skip(tag);
      }
    }
  }

  write(_writer: Writer): void {
  }
}

export class RateLimitHitsAddend {
  number: UInt64Value | null = null;
  format: string = "";

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitHitsAddend | null {
    const reader = new Reader(bytes);
    const message = new RateLimitHitsAddend();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.number;
          if (value === null) this.number = value = new UInt64Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          this.format = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const number = this.number;
    if (number !== null) {
      writer.tag(10);
      const start = writer.enter();
      number.write(writer);
      writer.exit(start);
    }
    if (this.format.length > 0) {
      writer.tag(18);
      writer.string(this.format);
    }
  }
}

/** Which field of `override_specifier` is set. */
export enum RateLimitOverrideOverrideSpecifierCase {
  NONE = 0,
  DYNAMIC_METADATA = 1,
}

export class RateLimitOverride {
  dynamicMetadata: RateLimitOverrideDynamicMetadata | null = null;
  overrideSpecifierCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitOverride | null {
    const reader = new Reader(bytes);
    const message = new RateLimitOverride();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.dynamicMetadata;
          if (value === null) this.dynamicMetadata = value = new RateLimitOverrideDynamicMetadata();
          this.overrideSpecifierCase = 1;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const dynamicMetadata = this.dynamicMetadata;
    if (dynamicMetadata !== null) {
      writer.tag(10);
      const start = writer.enter();
      dynamicMetadata.write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitOverrideDynamicMetadata {
  metadataKey: MetadataKey | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitOverrideDynamicMetadata | null {
    const reader = new Reader(bytes);
    const message = new RateLimitOverrideDynamicMetadata();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.metadataKey;
          if (value === null) this.metadataKey = value = new MetadataKey();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const metadataKey = this.metadataKey;
    if (metadataKey !== null) {
      writer.tag(10);
      const start = writer.enter();
      metadataKey.write(writer);
      writer.exit(start);
    }
  }
}

export class LocalClusterRateLimit {
  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): LocalClusterRateLimit | null {
    const reader = new Reader(bytes);
    const message = new LocalClusterRateLimit();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        default:
          reader.skip(tag);
      }
    }
  }

  write(_writer: Writer): void {
  }
}

export class LocalRateLimitDescriptor {
  entries: Array<RateLimitDescriptorEntry> = [];
  tokenBucket: TokenBucket | null = null;
  shadowMode: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): LocalRateLimitDescriptor | null {
    const reader = new Reader(bytes);
    const message = new LocalRateLimitDescriptor();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          const value = new RateLimitDescriptorEntry();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.entries.push(value);
          break;
        }
        case 18: {
          let value = this.tokenBucket;
          if (value === null) this.tokenBucket = value = new TokenBucket();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 24: {
          this.shadowMode = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    for (let i = 0; i < this.entries.length; i++) {
      writer.tag(10);
      const start = writer.enter();
      this.entries[i].write(writer);
      writer.exit(start);
    }
    const tokenBucket = this.tokenBucket;
    if (tokenBucket !== null) {
      writer.tag(18);
      const start = writer.enter();
      tokenBucket.write(writer);
      writer.exit(start);
    }
    if (this.shadowMode) {
      writer.tag(24);
      writer.bool(this.shadowMode);
    }
  }
}

export class RateLimitDescriptor {
  entries: Array<RateLimitDescriptorEntry> = [];
  limit: RateLimitDescriptorRateLimitOverride | null = null;
  hitsAddend: UInt64Value | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitDescriptor | null {
    const reader = new Reader(bytes);
    const message = new RateLimitDescriptor();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          const value = new RateLimitDescriptorEntry();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.entries.push(value);
          break;
        }
        case 18: {
          let value = this.limit;
          if (value === null) this.limit = value = new RateLimitDescriptorRateLimitOverride();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          let value = this.hitsAddend;
          if (value === null) this.hitsAddend = value = new UInt64Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    for (let i = 0; i < this.entries.length; i++) {
      writer.tag(10);
      const start = writer.enter();
      this.entries[i].write(writer);
      writer.exit(start);
    }
    const limit = this.limit;
    if (limit !== null) {
      writer.tag(18);
      const start = writer.enter();
      limit.write(writer);
      writer.exit(start);
    }
    const hitsAddend = this.hitsAddend;
    if (hitsAddend !== null) {
      writer.tag(26);
      const start = writer.enter();
      hitsAddend.write(writer);
      writer.exit(start);
    }
  }
}

export class RateLimitDescriptorEntry {
  key: string = "";
  value: string = "";

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitDescriptorEntry | null {
    const reader = new Reader(bytes);
    const message = new RateLimitDescriptorEntry();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.key = reader.string();
          break;
        }
        case 18: {
          this.value = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.key.length > 0) {
      writer.tag(10);
      writer.string(this.key);
    }
    if (this.value.length > 0) {
      writer.tag(18);
      writer.string(this.value);
    }
  }
}

export class RateLimitDescriptorRateLimitOverride {
  requestsPerUnit: u32 = 0;
  unit: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RateLimitDescriptorRateLimitOverride | null {
    const reader = new Reader(bytes);
    const message = new RateLimitDescriptorRateLimitOverride();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.requestsPerUnit = reader.uint32();
          break;
        }
        case 16: {
          this.unit = reader.int32();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.requestsPerUnit != 0) {
      writer.tag(8);
      writer.uint32(this.requestsPerUnit);
    }
    if (this.unit != 0) {
      writer.tag(16);
      writer.int32(this.unit);
    }
  }
}

export enum VhRateLimitsOptions {
  OVERRIDE = 0,
  INCLUDE = 1,
  IGNORE = 2,
}

export enum XRateLimitHeadersRFCVersion {
  OFF = 0,
  DRAFT_VERSION_03 = 1,
}

export class LocalRateLimit {
  statPrefix: string = "";
  status: HttpStatus | null = null;
  tokenBucket: TokenBucket | null = null;
  filterEnabled: RuntimeFractionalPercent | null = null;
  filterEnforced: RuntimeFractionalPercent | null = null;
  requestHeadersToAddWhenNotEnforced: Array<HeaderValueOption> = [];
  responseHeadersToAdd: Array<HeaderValueOption> = [];
  descriptors: Array<LocalRateLimitDescriptor> = [];
  stage: u32 = 0;
  localRateLimitPerDownstreamConnection: bool = false;
  localClusterRateLimit: LocalClusterRateLimit | null = null;
  enableXRatelimitHeaders: i32 = 0;
  vhRateLimits: i32 = 0;
  alwaysConsumeDefaultTokenBucket: BoolValue | null = null;
  rateLimitedAsResourceExhausted: bool = false;
  rateLimits: Array<RateLimit> = [];
  maxDynamicDescriptors: UInt32Value | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): LocalRateLimit | null {
    const reader = new Reader(bytes);
    const message = new LocalRateLimit();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.statPrefix = reader.string();
          break;
        }
        case 18: {
          let value = this.status;
          if (value === null) this.status = value = new HttpStatus();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          let value = this.tokenBucket;
          if (value === null) this.tokenBucket = value = new TokenBucket();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 34: {
          let value = this.filterEnabled;
          if (value === null) this.filterEnabled = value = new RuntimeFractionalPercent();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 42: {
          let value = this.filterEnforced;
          if (value === null) this.filterEnforced = value = new RuntimeFractionalPercent();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 82: {
          const value = new HeaderValueOption();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.requestHeadersToAddWhenNotEnforced.push(value);
          break;
        }
        case 50: {
          const value = new HeaderValueOption();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.responseHeadersToAdd.push(value);
          break;
        }
        case 66: {
          const value = new LocalRateLimitDescriptor();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.descriptors.push(value);
          break;
        }
        case 72: {
          this.stage = reader.uint32();
          break;
        }
        case 88: {
          this.localRateLimitPerDownstreamConnection = reader.bool();
          break;
        }
        case 130: {
          let value = this.localClusterRateLimit;
          if (value === null) this.localClusterRateLimit = value = new LocalClusterRateLimit();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 96: {
          this.enableXRatelimitHeaders = reader.int32();
          break;
        }
        case 104: {
          this.vhRateLimits = reader.int32();
          break;
        }
        case 114: {
          let value = this.alwaysConsumeDefaultTokenBucket;
          if (value === null) this.alwaysConsumeDefaultTokenBucket = value = new BoolValue();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 120: {
          this.rateLimitedAsResourceExhausted = reader.bool();
          break;
        }
        case 138: {
          const value = new RateLimit();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.rateLimits.push(value);
          break;
        }
        case 146: {
          let value = this.maxDynamicDescriptors;
          if (value === null) this.maxDynamicDescriptors = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.statPrefix.length > 0) {
      writer.tag(10);
      writer.string(this.statPrefix);
    }
    const status = this.status;
    if (status !== null) {
      writer.tag(18);
      const start = writer.enter();
      status.write(writer);
      writer.exit(start);
    }
    const tokenBucket = this.tokenBucket;
    if (tokenBucket !== null) {
      writer.tag(26);
      const start = writer.enter();
      tokenBucket.write(writer);
      writer.exit(start);
    }
    const filterEnabled = this.filterEnabled;
    if (filterEnabled !== null) {
      writer.tag(34);
      const start = writer.enter();
      filterEnabled.write(writer);
      writer.exit(start);
    }
    const filterEnforced = this.filterEnforced;
    if (filterEnforced !== null) {
      writer.tag(42);
      const start = writer.enter();
      filterEnforced.write(writer);
      writer.exit(start);
    }
    for (let i = 0; i < this.requestHeadersToAddWhenNotEnforced.length; i++) {
      writer.tag(82);
      const start = writer.enter();
      this.requestHeadersToAddWhenNotEnforced[i].write(writer);
      writer.exit(start);
    }
    for (let i = 0; i < this.responseHeadersToAdd.length; i++) {
      writer.tag(50);
      const start = writer.enter();
      this.responseHeadersToAdd[i].write(writer);
      writer.exit(start);
    }
    for (let i = 0; i < this.descriptors.length; i++) {
      writer.tag(66);
      const start = writer.enter();
      this.descriptors[i].write(writer);
      writer.exit(start);
    }
    if (this.stage != 0) {
      writer.tag(72);
      writer.uint32(this.stage);
    }
    if (this.localRateLimitPerDownstreamConnection) {
      writer.tag(88);
      writer.bool(this.localRateLimitPerDownstreamConnection);
    }
    const localClusterRateLimit = this.localClusterRateLimit;
    if (localClusterRateLimit !== null) {
      writer.tag(130);
      const start = writer.enter();
      localClusterRateLimit.write(writer);
      writer.exit(start);
    }
    if (this.enableXRatelimitHeaders != 0) {
      writer.tag(96);
      writer.int32(this.enableXRatelimitHeaders);
    }
    if (this.vhRateLimits != 0) {
      writer.tag(104);
      writer.int32(this.vhRateLimits);
    }
    const alwaysConsumeDefaultTokenBucket = this.alwaysConsumeDefaultTokenBucket;
    if (alwaysConsumeDefaultTokenBucket !== null) {
      writer.tag(114);
      const start = writer.enter();
      alwaysConsumeDefaultTokenBucket.write(writer);
      writer.exit(start);
    }
    if (this.rateLimitedAsResourceExhausted) {
      writer.tag(120);
      writer.bool(this.rateLimitedAsResourceExhausted);
    }
    for (let i = 0; i < this.rateLimits.length; i++) {
      writer.tag(138);
      const start = writer.enter();
      this.rateLimits[i].write(writer);
      writer.exit(start);
    }
    const maxDynamicDescriptors = this.maxDynamicDescriptors;
    if (maxDynamicDescriptors !== null) {
      writer.tag(146);
      const start = writer.enter();
      maxDynamicDescriptors.write(writer);
      writer.exit(start);
    }
  }
}

/** Which field of `engine_type` is set. */
export enum RegexMatcherEngineTypeCase {
  NONE = 0,
  GOOGLE_RE2 = 1,
}

export class RegexMatcher {
  googleRe2: RegexMatcherGoogleRE2 | null = null;
  regex: string = "";
  engineTypeCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RegexMatcher | null {
    const reader = new Reader(bytes);
    const message = new RegexMatcher();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.googleRe2;
          if (value === null) this.googleRe2 = value = new RegexMatcherGoogleRE2();
          this.engineTypeCase = 1;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 18: {
          this.regex = reader.string();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const googleRe2 = this.googleRe2;
    if (googleRe2 !== null) {
      writer.tag(10);
      const start = writer.enter();
      googleRe2.write(writer);
      writer.exit(start);
    }
    if (this.regex.length > 0) {
      writer.tag(18);
      writer.string(this.regex);
    }
  }
}

export class RegexMatcherGoogleRE2 {
  maxProgramSize: UInt32Value | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): RegexMatcherGoogleRE2 | null {
    const reader = new Reader(bytes);
    const message = new RegexMatcherGoogleRE2();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          let value = this.maxProgramSize;
          if (value === null) this.maxProgramSize = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    const maxProgramSize = this.maxProgramSize;
    if (maxProgramSize !== null) {
      writer.tag(10);
      const start = writer.enter();
      maxProgramSize.write(writer);
      writer.exit(start);
    }
  }
}

/** Which field of `match_pattern` is set. */
export enum StringMatcherMatchPatternCase {
  NONE = 0,
  EXACT = 1,
  PREFIX = 2,
  SUFFIX = 3,
  SAFE_REGEX = 5,
  CONTAINS = 7,
  CUSTOM = 8,
}

export class StringMatcher {
  exact: string = "";
  prefix: string = "";
  suffix: string = "";
  safeRegex: RegexMatcher | null = null;
  contains: string = "";
  custom: XdsCoreV3TypedExtensionConfig | null = null;
  ignoreCase: bool = false;
  matchPatternCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): StringMatcher | null {
    const reader = new Reader(bytes);
    const message = new StringMatcher();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.exact = reader.string();
          this.matchPatternCase = 1;
          break;
        }
        case 18: {
          this.prefix = reader.string();
          this.matchPatternCase = 2;
          break;
        }
        case 26: {
          this.suffix = reader.string();
          this.matchPatternCase = 3;
          break;
        }
        case 42: {
          let value = this.safeRegex;
          if (value === null) this.safeRegex = value = new RegexMatcher();
          this.matchPatternCase = 5;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 58: {
          this.contains = reader.string();
          this.matchPatternCase = 7;
          break;
        }
        case 66: {
          let value = this.custom;
          if (value === null) this.custom = value = new XdsCoreV3TypedExtensionConfig();
          this.matchPatternCase = 8;
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 48: {
          this.ignoreCase = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.matchPatternCase == 1) {
      writer.tag(10);
      writer.string(this.exact);
    }
    if (this.matchPatternCase == 2) {
      writer.tag(18);
      writer.string(this.prefix);
    }
    if (this.matchPatternCase == 3) {
      writer.tag(26);
      writer.string(this.suffix);
    }
    const safeRegex = this.safeRegex;
    if (safeRegex !== null) {
      writer.tag(42);
      const start = writer.enter();
      safeRegex.write(writer);
      writer.exit(start);
    }
    if (this.matchPatternCase == 7) {
      writer.tag(58);
      writer.string(this.contains);
    }
    const custom = this.custom;
    if (custom !== null) {
      writer.tag(66);
      const start = writer.enter();
      custom.write(writer);
      writer.exit(start);
    }
    if (this.ignoreCase) {
      writer.tag(48);
      writer.bool(this.ignoreCase);
    }
  }
}

export class MetadataKey {
  key: string = "";
  path: Array<MetadataKeyPathSegment> = [];

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): MetadataKey | null {
    const reader = new Reader(bytes);
    const message = new MetadataKey();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.key = reader.string();
          break;
        }
        case 18: {
          const value = new MetadataKeyPathSegment();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          this.path.push(value);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.key.length > 0) {
      writer.tag(10);
      writer.string(this.key);
    }
    for (let i = 0; i < this.path.length; i++) {
      writer.tag(18);
      const start = writer.enter();
      this.path[i].write(writer);
      writer.exit(start);
    }
  }
}

/** Which field of `segment` is set. */
export enum MetadataKeyPathSegmentSegmentCase {
  NONE = 0,
  KEY = 1,
}

export class MetadataKeyPathSegment {
  key: string = "";
  segmentCase: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): MetadataKeyPathSegment | null {
    const reader = new Reader(bytes);
    const message = new MetadataKeyPathSegment();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.key = reader.string();
          this.segmentCase = 1;
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.segmentCase == 1) {
      writer.tag(10);
      writer.string(this.key);
    }
  }
}

export class FractionalPercent {
  numerator: u32 = 0;
  denominator: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): FractionalPercent | null {
    const reader = new Reader(bytes);
    const message = new FractionalPercent();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.numerator = reader.uint32();
          break;
        }
        case 16: {
          this.denominator = reader.int32();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.numerator != 0) {
      writer.tag(8);
      writer.uint32(this.numerator);
    }
    if (this.denominator != 0) {
      writer.tag(16);
      writer.int32(this.denominator);
    }
  }
}

export enum FractionalPercentDenominatorType {
  HUNDRED = 0,
  TEN_THOUSAND = 1,
  MILLION = 2,
}

export class HttpStatus {
  code: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): HttpStatus | null {
    const reader = new Reader(bytes);
    const message = new HttpStatus();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.code = reader.int32();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.code != 0) {
      writer.tag(8);
      writer.int32(this.code);
    }
  }
}

export class Int64Range {
  start: i64 = 0;
  end: i64 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): Int64Range | null {
    const reader = new Reader(bytes);
    const message = new Int64Range();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.start = reader.int64();
          break;
        }
        case 16: {
          this.end = reader.int64();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.start != 0) {
      writer.tag(8);
      writer.int64(this.start);
    }
    if (this.end != 0) {
      writer.tag(16);
      writer.int64(this.end);
    }
  }
}

export enum RateLimitUnit {
  UNKNOWN = 0,
  SECOND = 1,
  MINUTE = 2,
  HOUR = 3,
  DAY = 4,
  MONTH = 5,
  YEAR = 6,
}

export enum StatusCode {
  Empty = 0,
  Continue = 100,
  OK = 200,
  Created = 201,
  Accepted = 202,
  NonAuthoritativeInformation = 203,
  NoContent = 204,
  ResetContent = 205,
  PartialContent = 206,
  MultiStatus = 207,
  AlreadyReported = 208,
  IMUsed = 226,
  MultipleChoices = 300,
  MovedPermanently = 301,
  Found = 302,
  SeeOther = 303,
  NotModified = 304,
  UseProxy = 305,
  TemporaryRedirect = 307,
  PermanentRedirect = 308,
  BadRequest = 400,
  Unauthorized = 401,
  PaymentRequired = 402,
  Forbidden = 403,
  NotFound = 404,
  MethodNotAllowed = 405,
  NotAcceptable = 406,
  ProxyAuthenticationRequired = 407,
  RequestTimeout = 408,
  Conflict = 409,
  Gone = 410,
  LengthRequired = 411,
  PreconditionFailed = 412,
  PayloadTooLarge = 413,
  URITooLong = 414,
  UnsupportedMediaType = 415,
  RangeNotSatisfiable = 416,
  ExpectationFailed = 417,
  MisdirectedRequest = 421,
  UnprocessableEntity = 422,
  Locked = 423,
  FailedDependency = 424,
  UpgradeRequired = 426,
  PreconditionRequired = 428,
  TooManyRequests = 429,
  RequestHeaderFieldsTooLarge = 431,
  InternalServerError = 500,
  NotImplemented = 501,
  BadGateway = 502,
  ServiceUnavailable = 503,
  GatewayTimeout = 504,
  HTTPVersionNotSupported = 505,
  VariantAlsoNegotiates = 506,
  InsufficientStorage = 507,
  LoopDetected = 508,
  NotExtended = 510,
  NetworkAuthenticationRequired = 511,
}

export class TokenBucket {
  maxTokens: u32 = 0;
  tokensPerFill: UInt32Value | null = null;
  fillInterval: Duration | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): TokenBucket | null {
    const reader = new Reader(bytes);
    const message = new TokenBucket();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.maxTokens = reader.uint32();
          break;
        }
        case 18: {
          let value = this.tokensPerFill;
          if (value === null) this.tokensPerFill = value = new UInt32Value();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        case 26: {
          let value = this.fillInterval;
          if (value === null) this.fillInterval = value = new Duration();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.maxTokens != 0) {
      writer.tag(8);
      writer.uint32(this.maxTokens);
    }
    const tokensPerFill = this.tokensPerFill;
    if (tokensPerFill !== null) {
      writer.tag(18);
      const start = writer.enter();
      tokensPerFill.write(writer);
      writer.exit(start);
    }
    const fillInterval = this.fillInterval;
    if (fillInterval !== null) {
      writer.tag(26);
      const start = writer.enter();
      fillInterval.write(writer);
      writer.exit(start);
    }
  }
}

export class Any {
  typeUrl: string = "";
  value: ArrayBuffer = new ArrayBuffer(0);

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): Any | null {
    const reader = new Reader(bytes);
    const message = new Any();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.typeUrl = reader.string();
          break;
        }
        case 18: {
          this.value = reader.byteString();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.typeUrl.length > 0) {
      writer.tag(10);
      writer.string(this.typeUrl);
    }
    if (this.value.byteLength > 0) {
      writer.tag(18);
      writer.byteString(this.value);
    }
  }
}

export class BoolValue {
  value: bool = false;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): BoolValue | null {
    const reader = new Reader(bytes);
    const message = new BoolValue();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.value = reader.bool();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.value) {
      writer.tag(8);
      writer.bool(this.value);
    }
  }
}

export class Duration {
  seconds: i64 = 0;
  nanos: i32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): Duration | null {
    const reader = new Reader(bytes);
    const message = new Duration();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.seconds = reader.int64();
          break;
        }
        case 16: {
          this.nanos = reader.int32();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.seconds != 0) {
      writer.tag(8);
      writer.int64(this.seconds);
    }
    if (this.nanos != 0) {
      writer.tag(16);
      writer.int32(this.nanos);
    }
  }

  /** Whole milliseconds, rounded towards zero. */
  milliseconds(): i64 {
    return this.seconds * 1000 + this.nanos / 1000000;
  }
}

export class UInt32Value {
  value: u32 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): UInt32Value | null {
    const reader = new Reader(bytes);
    const message = new UInt32Value();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.value = reader.uint32();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.value != 0) {
      writer.tag(8);
      writer.uint32(this.value);
    }
  }
}

export class UInt64Value {
  value: u64 = 0;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): UInt64Value | null {
    const reader = new Reader(bytes);
    const message = new UInt64Value();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 8: {
          this.value = reader.uint64();
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.value != 0) {
      writer.tag(8);
      writer.uint64(this.value);
    }
  }
}

export class XdsCoreV3TypedExtensionConfig {
  name: string = "";
  typedConfig: Any | null = null;

  /** The message in these bytes; null when they are malformed. Unknown fields are skipped. */
  static decode(bytes: ArrayBuffer): XdsCoreV3TypedExtensionConfig | null {
    const reader = new Reader(bytes);
    const message = new XdsCoreV3TypedExtensionConfig();
    message.read(reader);
    return reader.failed ? null : message;
  }

  encode(): ArrayBuffer {
    const writer = new Writer();
    this.write(writer);
    return writer.finish();
  }

  read(reader: Reader): void {
    let tag: u32;
    while ((tag = reader.tag()) != 0) {
      switch (tag) {
        case 10: {
          this.name = reader.string();
          break;
        }
        case 18: {
          let value = this.typedConfig;
          if (value === null) this.typedConfig = value = new Any();
          const outer = reader.enter();
          value.read(reader);
          reader.exit(outer);
          break;
        }
        default:
          reader.skip(tag);
      }
    }
  }

  write(writer: Writer): void {
    if (this.name.length > 0) {
      writer.tag(10);
      writer.string(this.name);
    }
    const typedConfig = this.typedConfig;
    if (typedConfig !== null) {
      writer.tag(18);
      const start = writer.enter();
      typedConfig.write(writer);
      writer.exit(start);
    }
  }
}
