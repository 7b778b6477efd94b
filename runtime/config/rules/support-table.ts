/** Fields by message: used, and set without effect. Checked against the descriptors by a test. */

const TUNING = "tuning of a part that works another way here";

/** Messages that are used in part, with the fields that are used. */
export const SUPPORTED_FIELDS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  fields(
    "envoy.config.bootstrap.v3.Bootstrap",
    "node static_resources admin layered_runtime stats_flush_interval bootstrap_extensions overload_manager",
  ),
  fields("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "listeners clusters secrets"),
  fields("envoy.config.overload.v3.OverloadManager", "resource_monitors"),
  fields("envoy.config.bootstrap.v3.Admin", "address access_log"),
  fields(
    "envoy.config.listener.v3.Listener",
    "name address stat_prefix filter_chains bind_to_port deprecated_v1 enable_reuse_port tcp_backlog_size per_connection_buffer_limit_bytes traffic_direction access_log additional_addresses listener_filters listener_filters_timeout continue_on_listener_filters_timeout default_filter_chain transparent freebind socket_options tcp_fast_open_queue_length connection_balance_config use_original_dst ignore_global_conn_limit drain_type",
  ),
  fields("envoy.config.listener.v3.Listener.DeprecatedV1", "bind_to_port"),
  fields("envoy.config.listener.v3.AdditionalAddress", "address socket_options"),
  fields("envoy.config.listener.v3.ListenerFilter", "name typed_config filter_disabled"),
  fields(
    "envoy.config.listener.v3.FilterChain",
    "filter_chain_match filters name transport_socket transport_socket_connect_timeout",
  ),
  fields(
    "envoy.config.listener.v3.FilterChainMatch",
    "destination_port prefix_ranges server_names transport_protocol application_protocols direct_source_prefix_ranges source_type source_prefix_ranges source_ports",
  ),
  fields("envoy.config.listener.v3.Filter", "name typed_config"),
  fields(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "codec_type stat_prefix route_config rds scoped_routes http_filters add_user_agent common_http_protocol_options http_protocol_options http2_protocol_options server_name server_header_transformation via max_request_headers_kb stream_idle_timeout request_timeout request_headers_timeout drain_timeout delayed_close_timeout access_log use_remote_address forward_client_cert_details set_current_client_cert_details generate_request_id proxy_100_continue xff_num_trusted_hops skip_xff_append internal_address_config normalize_path merge_slashes preserve_external_request_id always_set_request_id_in_response strip_matching_host_port strip_any_host_port strip_trailing_host_dot upgrade_configs",
  ),
  fields(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "name typed_config is_optional disabled",
  ),
  fields(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
    "upgrade_type enabled",
  ),
  fields(
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
    "cidr_ranges",
  ),
  fields(
    "envoy.config.core.v3.HttpProtocolOptions",
    "idle_timeout max_headers_count max_connection_duration max_stream_duration headers_with_underscores_action max_requests_per_connection",
  ),
  fields("envoy.config.core.v3.Http1ProtocolOptions", "accept_http_10 default_host_for_http_10 enable_trailers"),
  fields(
    "envoy.config.core.v3.Http2ProtocolOptions",
    "max_concurrent_streams initial_stream_window_size initial_connection_window_size allow_connect",
  ),
  fields("envoy.config.core.v3.UpstreamHttpProtocolOptions", ""),
  fields(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix cluster weighted_clusters idle_timeout max_connect_attempts backoff_options upstream_connect_mode max_early_data_bytes max_downstream_connection_duration max_downstream_connection_duration_jitter_percentage access_log access_log_flush_interval flush_access_log_on_connected access_log_options metadata_match hash_policy tunneling_config",
  ),
  fields(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig",
    "hostname use_post headers_to_add post_path",
  ),
  fields(
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
    "name weight metadata_match",
  ),
  fields(
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    "stat_prefix max_connections delay runtime_enabled",
  ),
  fields(
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "rules shadow_rules shadow_rules_stat_prefix stat_prefix enforcement_type delay_deny",
  ),
  fields("envoy.config.rbac.v3.RBAC", "action policies"),
  fields("envoy.config.rbac.v3.Policy", "permissions principals"),
  fields(
    "envoy.config.rbac.v3.Permission",
    "and_rules or_rules any destination_ip destination_port destination_port_range metadata not_rule requested_server_name header url_path",
  ),
  fields(
    "envoy.config.rbac.v3.Principal",
    "and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip metadata filter_state not_id header url_path",
  ),
  fields(
    "envoy.config.route.v3.RouteConfiguration",
    "name virtual_hosts internal_only_headers response_headers_to_add response_headers_to_remove request_headers_to_add request_headers_to_remove validate_clusters most_specific_header_mutations_wins max_direct_response_body_size_bytes ignore_port_in_host_matching typed_per_filter_config",
  ),
  fields(
    "envoy.config.route.v3.VirtualHost",
    "name domains routes require_tls rate_limits request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove include_request_attempt_count include_attempt_count_in_response typed_per_filter_config retry_policy metadata",
  ),
  fields(
    "envoy.config.route.v3.Route",
    "match route redirect direct_response non_forwarding_action filter_action name metadata typed_per_filter_config request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove",
  ),
  fields(
    "envoy.config.route.v3.RouteMatch",
    "prefix path path_separated_prefix safe_regex connect_matcher case_sensitive runtime_fraction headers query_parameters grpc tls_context",
  ),
  fields(
    "envoy.config.route.v3.RouteAction",
    "cluster cluster_header weighted_clusters cluster_specifier_plugin inline_cluster_specifier_plugin cluster_not_found_response_code timeout idle_timeout prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite host_rewrite_header host_rewrite_path_regex append_x_forwarded_host retry_policy rate_limits include_vh_rate_limits upgrade_configs metadata_match hash_policy",
  ),
  fields("envoy.config.route.v3.RouteAction.UpgradeConfig", "upgrade_type enabled connect_config"),
  fields("envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig", "allow_post"),
  fields("envoy.config.route.v3.WeightedCluster", "clusters"),
  fields(
    "envoy.config.route.v3.WeightedCluster.ClusterWeight",
    "name cluster_header weight request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config metadata_match",
  ),
  fields(
    "envoy.config.route.v3.RetryPolicy",
    "retry_on num_retries per_try_timeout retriable_status_codes retry_back_off retry_host_predicate host_selection_retry_max_attempts",
  ),
  fields("envoy.config.route.v3.RateLimit", "stage disable_key actions hits_addend"),
  fields("envoy.config.route.v3.RateLimit.HitsAddend", "number"),
  fields("envoy.config.core.v3.SocketAddress", "protocol address port_value named_port ipv4_compat"),
  fields(
    "envoy.config.core.v3.SubstitutionFormatString",
    "text_format json_format text_format_source omit_empty_values",
  ),
  fields("envoy.config.core.v3.GrpcService", "envoy_grpc timeout initial_metadata"),
  fields("envoy.config.core.v3.GrpcService.EnvoyGrpc", "cluster_name authority"),
  fields("envoy.config.core.v3.DataSource", "filename inline_bytes inline_string environment_variable"),
  fields(
    "envoy.config.cluster.v3.Cluster",
    "name alt_stat_name type cluster_type connect_timeout per_connection_buffer_limit_bytes lb_policy load_assignment circuit_breakers dns_refresh_rate dns_failure_refresh_rate dns_lookup_family typed_extension_protocol_options http_protocol_options http2_protocol_options common_http_protocol_options max_requests_per_connection metadata transport_socket transport_socket_matches original_dst_lb_config cleanup_interval lb_subset_config ring_hash_lb_config maglev_lb_config common_lb_config least_request_lb_config outlier_detection upstream_bind_config",
  ),
  fields("envoy.config.core.v3.BindConfig", "source_address extra_source_addresses additional_source_addresses"),
  fields("envoy.config.core.v3.ExtraSourceAddress", "address"),
  fields(
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig",
    "fallback_policy default_subset subset_selectors panic_mode_any list_as_any metadata_fallback_policy",
  ),
  fields("envoy.config.cluster.v3.Cluster.CommonLbConfig", "healthy_panic_threshold consistent_hashing_lb_config"),
  fields(
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig",
    "use_hostname_for_hashing hash_balance_factor",
  ),
  fields("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "common_http_protocol_options explicit_http_config"),
  fields(
    "envoy.config.cluster.v3.OutlierDetection",
    "consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor consecutive_gateway_failure enforcing_consecutive_gateway_failure split_external_local_origin_errors consecutive_local_origin_failure enforcing_consecutive_local_origin_failure enforcing_local_origin_success_rate failure_percentage_threshold enforcing_failure_percentage enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts failure_percentage_request_volume max_ejection_time max_ejection_time_jitter always_eject_one_host",
  ),
  fields("envoy.config.cluster.v3.CircuitBreakers", "thresholds"),
  fields(
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
    "priority max_connections max_pending_requests max_requests max_retries retry_budget",
  ),
  fields("envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name endpoints policy"),
  fields("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy", "overprovisioning_factor"),
  fields("envoy.config.cluster.v3.Cluster.LeastRequestLbConfig", "choice_count active_request_bias"),
  fields("envoy.config.endpoint.v3.LocalityLbEndpoints", "lb_endpoints priority metadata"),
  fields("envoy.config.endpoint.v3.LbEndpoint", "endpoint health_status load_balancing_weight metadata"),
  fields("envoy.config.endpoint.v3.Endpoint", "address hostname"),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "name tls_certificate session_ticket_keys validation_context",
  ),
  fields(
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "enable_ja3_fingerprinting enable_ja4_fingerprinting max_client_hello_size close_connection_on_client_hello_parsing_errors",
  ),
  fields(
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    "rules allow_requests_without_proxy_protocol pass_through_tlvs disallowed_versions stat_prefix tlv_location",
  ),
  fields(
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    "config transport_socket",
  ),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "common_tls_context require_client_certificate require_sni session_ticket_keys session_ticket_keys_sds_secret_config disable_stateless_session_resumption disable_stateful_session_resumption session_timeout ocsp_staple_policy full_scan_certs_on_sni_mismatch prefer_client_ciphers",
  ),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "common_tls_context sni max_session_keys enforce_rsa_key_usage auto_host_sni auto_sni_san_validation",
  ),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context validation_context_sds_secret_config combined_validation_context alpn_protocols",
  ),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    "certificate_chain private_key pkcs12 password watched_directory ocsp_staple",
  ),
  fields(
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
    "trusted_ca system_root_certs watched_directory verify_certificate_spki verify_certificate_hash match_typed_subject_alt_names match_subject_alt_names crl only_verify_leaf_cert_crl allow_expired_certificate trust_chain_verification max_verify_depth",
  ),
  fields("envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers respect_expected_rq_timeout"),
  fields(
    "envoy.extensions.wasm.v3.PluginConfig",
    "name root_id vm_config configuration fail_open capability_restriction_config failure_policy reload_config allow_on_headers_stop_iteration",
  ),
  fields("envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy", "stat_prefix"),
  fields(
    "envoy.extensions.wasm.v3.VmConfig",
    "vm_id runtime code configuration nack_on_code_cache_miss environment_variables",
  ),
  fields("envoy.config.core.v3.RetryPolicy", "retry_back_off num_retries"),
]);

/** Fields whose loss is harmless, with the reason that the warning gives; "*" is every other field. */
export const IGNORED_FIELDS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  ignored("envoy.config.bootstrap.v3.Bootstrap", {
    cluster_manager: TUNING,
    stats_config: "statistics are neither renamed nor tagged yet",
    stats_sinks: "statistics are read from the admin server only",
    watchdog: "workers are watched with fixed times",
    watchdogs: "workers are watched with fixed times",
    typed_dns_resolver_config: "the system's resolver is used",
    dns_resolution_config: "the system's resolver is used",
    use_tcp_for_dns_lookups: "the system's resolver is used",
    default_regex_engine: "RE2 is the only engine",
    default_socket_interface: "there is one socket interface",
    enable_dispatcher_stats: TUNING,
    memory_allocator_manager: TUNING,
    grpc_async_client_manager_config: TUNING,
    deferred_stat_options: TUNING,
    listener_manager: TUNING,
    application_log_config: "see --log-format",
    perf_tracing_file_path: TUNING,
    stats_flush_on_admin: "statistics are always current",
    inline_headers: TUNING,
    flags_path: "there are no flag files",
    stats_server_version_override: TUNING,
    node_context_params: "there is no xDS yet",
  }),
  ignored("envoy.config.overload.v3.OverloadManager", {
    refresh_interval: "connections are counted, not sampled",
    buffer_factory_config: TUNING,
  }),
  ignored("envoy.config.bootstrap.v3.Admin", {
    profile_path: "there is no profiler",
    ignore_global_conn_limit: "connections of the admin server are never limited",
  }),
  ignored("envoy.config.listener.v3.Listener", {
    metadata: "nothing reads it yet",
    max_connections_to_accept_per_socket_event: "the event loop accepts all that wait",
    bypass_overload_manager: "there is no overload manager",
    reuse_port: "use enable_reuse_port",
  }),
  ignored("envoy.config.listener.v3.FilterChain", {
    metadata: "nothing reads it yet",
  }),
  ignored("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
    tracing: "there is no tracing yet",
    http3_protocol_options: "there is no HTTP/3",
    request_id_extension: "request ids are UUIDs",
    stream_error_on_invalid_http_message: "the connection is always closed",
    add_proxy_protocol_connection_state: TUNING,
    access_log_options: "records are written at the end of a stream",
    access_log_flush_interval: "records are written at the end of a stream",
    flush_access_log_on_new_request: "records are written at the end of a stream",
    append_local_overload: "there is no overload manager",
    typed_header_validation_config: "headers are always checked strictly",
  }),
  ignored("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig", {
    unix_sockets: "a unix socket has no address to compare",
  }),
  ignored("envoy.config.core.v3.Http1ProtocolOptions", {
    allow_absolute_url: "absolute URLs are always accepted",
    override_stream_error_on_invalid_http_message: "the connection is always closed",
    use_balsa_parser: "there is one parser",
    allow_custom_methods: "methods are tokens, as in RFC 9110",
  }),
  ignored("envoy.config.core.v3.Http2ProtocolOptions", {
    "*": TUNING,
  }),
  ignored("envoy.config.core.v3.UpstreamHttpProtocolOptions", {
    "*": "the server name is that of the UpstreamTlsContext",
  }),
  ignored("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
    downstream_idle_timeout: "idle_timeout holds for both sides, as in Envoy",
    upstream_idle_timeout: "idle_timeout holds for both sides, as in Envoy",
  }),
  ignored("envoy.config.route.v3.RouteConfiguration", {
    metadata: "nothing reads it yet",
  }),
  ignored("envoy.config.route.v3.VirtualHost", {
    virtual_clusters: "there are no statistics of virtual clusters yet",
    per_request_buffer_limit_bytes: "bodies that can be replayed have a fixed limit",
    include_is_timeout_retry_header: "the header is not sent",
  }),
  ignored("envoy.config.route.v3.Route", {
    decorator: "there is no tracing yet",
    tracing: "there is no tracing yet",
    per_request_buffer_limit_bytes: "bodies that can be replayed have a fixed limit",
    stat_prefix: "there are no statistics of routes yet",
  }),
  ignored("envoy.config.route.v3.RouteAction", {
    priority: "there is one priority",
    early_data_policy: "there is no early data",
  }),
  ignored("envoy.config.route.v3.WeightedCluster", {
    total_weight: "the sum is worked out",
    runtime_key_prefix: "weights are not read from the runtime",
  }),
  ignored("envoy.config.core.v3.SubstitutionFormatString", {
    content_type: "a log has none",
    json_format_options: "properties keep their order",
  }),
  ignored("envoy.config.core.v3.GrpcService", {
    retry_policy: "calls are not retried",
  }),
  ignored("envoy.config.core.v3.GrpcService.EnvoyGrpc", {
    "*": TUNING,
  }),
  ignored("envoy.config.core.v3.DataSource", {
    watched_directory: "the file is read once",
  }),
  ignored("envoy.config.cluster.v3.Cluster", {
    upstream_http_protocol_options: "the server name is that of the UpstreamTlsContext",
    respect_dns_ttl: "names are looked up every dns_refresh_rate",
    typed_dns_resolver_config: "the system's resolver is used",
    dns_resolution_config: "the system's resolver is used",
    use_tcp_for_dns_lookups: "the system's resolver is used",
    wait_for_warm_on_init: "listeners open once names have been looked up",
    upstream_connection_options: TUNING,
    round_robin_lb_config: TUNING,
    track_cluster_stats: TUNING,
    track_timeout_budgets: TUNING,
    preconnect_policy: TUNING,
    close_connections_on_host_health_failure: "there are no health checks yet",
    ignore_health_on_host_removal: "there are no health checks yet",
    protocol_selection: "the protocol is the configured one",
  }),
  ignored("envoy.config.cluster.v3.OutlierDetection", {
    successful_active_health_check_uneject_host: "there are no health checks yet",
  }),
  ignored("envoy.config.cluster.v3.Cluster.CommonLbConfig", {
    zone_aware_lb_config: "hosts of all localities are one set",
    locality_weighted_lb_config: "hosts of all localities are one set",
    update_merge_window: TUNING,
    ignore_new_hosts_until_first_hc: "there are no health checks yet",
    close_connections_on_host_set_change: TUNING,
    override_host_status: "no filter names a host",
  }),
  ignored("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", {
    upstream_http_protocol_options: "the server name is that of the UpstreamTlsContext",
    header_validation_config: "headers are always checked strictly",
  }),
  ignored("envoy.config.cluster.v3.CircuitBreakers.Thresholds", {
    track_remaining: "there are no such statistics yet",
    max_connection_pools: "there is one pool for each host",
  }),
  ignored("envoy.config.endpoint.v3.ClusterLoadAssignment.Policy", {
    drop_overloads: "nothing is dropped",
    endpoint_stale_after: "endpoints stay as they are configured",
    weighted_priority_health: "hosts count alike in the health of a priority",
  }),
  ignored("envoy.config.cluster.v3.Cluster.LeastRequestLbConfig", {
    slow_start_config: "new hosts get their whole share at once",
  }),
  ignored("envoy.config.endpoint.v3.LocalityLbEndpoints", {
    locality: "hosts of all localities are one set",
    load_balancing_weight: "hosts of all localities are one set",
    proximity: "hosts of all localities are one set",
  }),
  ignored("envoy.config.endpoint.v3.Endpoint", {
    health_check_config: "there are no health checks yet",
  }),
  ignored("envoy.extensions.filters.http.router.v3.Router", {
    dynamic_stats: "statistics are always kept",
    start_child_span: "there is no tracing yet",
    suppress_grpc_request_failure_code_stats: TUNING,
    upstream_log_options: "there are no upstream logs yet",
  }),
  ignored("envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy", {
    access_log: "the filter writes no log of its own; access logs can hold its dynamic metadata",
  }),
  ignored("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", {
    initial_read_buffer_size: TUNING,
  }),
  ignored("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", {
    tlv_as_pool_key: "each downstream connection has upstream connections of its own",
  }),
  ignored("envoy.extensions.wasm.v3.VmConfig", {
    allow_precompiled: "precompiled code is never used",
  }),
  ignored("envoy.config.core.v3.RetryPolicy", {
    retry_on: "whatever the reason, a fetch that failed is tried again",
    "*": "attempts take the cluster's endpoints in turn",
  }),
]);

const ONE_TLS = "certificates and their checks are those of Node's OpenSSL, and come from files, the text or secrets";

/** Fields that are no gap to be filled: why they are refused, and what to do instead. */
export const REFUSED_FIELDS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  refused("envoy.config.listener.v3.Listener", {
    udp_listener_config: "listeners are TCP listeners",
    api_listener: "that is a part of Envoy Mobile",
    internal_listener: "use a unix socket: address.pipe",
    enable_mptcp: "Node makes no MPTCP sockets",
    filter_chain_matcher: "use filter_chain_match of each chain",
  }),
  refused("envoy.config.listener.v3.FilterChain", {
    use_proxy_proto: "use the listener filter envoy.filters.listener.proxy_protocol",
  }),
  refused("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
    allow_renegotiation: "hosts cannot renegotiate: TLS 1.3 knows no such thing, and before it is not safe",
  }),
  refused("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", {
    key_log: "secrets of connections are never written down",
    custom_handshaker: ONE_TLS,
    tls_certificate_certificate_provider: ONE_TLS,
    tls_certificate_certificate_provider_instance: ONE_TLS,
    tls_certificate_provider_instance: ONE_TLS,
    validation_context_certificate_provider: ONE_TLS,
    validation_context_certificate_provider_instance: ONE_TLS,
  }),
  refused("envoy.extensions.transport_sockets.tls.v3.TlsCertificate", {
    private_key_provider: ONE_TLS,
    signed_certificate_timestamp: "Node has no way to send one",
  }),
  refused("envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext", {
    custom_validator_config: ONE_TLS,
    ca_certificate_provider_instance: ONE_TLS,
    require_signed_certificate_timestamp: "Node does not tell of them",
  }),
]);

function fields(message: string, names: string): [string, ReadonlySet<string>] {
  return [message, new Set(names.split(" "))];
}

function ignored(message: string, reasons: Readonly<Record<string, string>>): [string, ReadonlyMap<string, string>] {
  return [message, new Map(Object.entries(reasons))];
}

function refused(message: string, reasons: Readonly<Record<string, string>>): [string, ReadonlyMap<string, string>] {
  return ignored(message, reasons);
}
