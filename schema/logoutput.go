package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// logPlugins are the outputs of Fluent Bit 3.0, a line each: the type, the release of the product that bundles it first when
// that is not the oldest, and its parameters. Those that must be given end in !; of a!|b! one must be. A trailing * stands for
// any ending. The lines of metrics say so: they are legal and of no use for logs.
//
// Source: https://docs.fluentbit.io/manual/3.0/pipeline/outputs
const logPlugins = `
azure: customer_id! shared_key! log_type log_type_key time_key time_generated
azure_blob: account_name! container_name! shared_key!|sas_token! auth_type blob_type auto_create_container path emulator_mode endpoint
azure_kusto@1.5: tenant_id! client_id! client_secret! ingestion_endpoint! database_name! table_name! ingestion_mapping_reference log_key include_tag_key tag_key include_time_key time_key
azure_logs_ingestion@1.8: tenant_id! client_id! client_secret! dce_url! dcr_id! table_name! time_key time_generated compress
bigquery: dataset_id! table_id! google_service_credentials project_id skip_invalid_rows ignore_unknown_values enable_workload_identity_federation aws_region project_number pool_id provider_id google_service_account
chronicle@1.8: customer_id! log_type! google_service_credentials service_account_email service_account_secret project_id region log_key
cloudwatch_logs: region! log_group_name! log_stream_name!|log_stream_prefix! log_group_template log_stream_template log_key log_format auto_create_group log_retention_days role_arn external_id profile endpoint sts_endpoint metric_namespace metric_dimensions auto_retry_requests
counter:
datadog: apikey! host compress proxy provider json_date_key include_tag_key tag_key dd_service dd_source dd_tags dd_message_key
es: host port path index type suppress_type_name compress buffer_size pipeline http_user http_passwd cloud_id cloud_auth logstash_* time_key time_key_format time_key_nanos include_tag_key tag_key generate_id id_key write_operation replace_dots trace_output trace_error current_time_index aws_*
file: path file format mkdir delimiter label_delimiter template
flowcounter: unit
forward: host port upstream unix_path tag time_as_integer send_options require_ack_response compress shared_key empty_shared_key username password self_hostname
gelf: host port mode gelf_* packet_size compress
http: host port uri format header header_tag allow_duplicated_headers log_response_payload compress proxy http_user http_passwd json_date_key json_date_format gelf_* body_key headers_key aws_*
influxdb: host port database bucket org sequence_tag http_user http_passwd http_token http_header tag_keys auto_tags uri
kafka: brokers! topics topic_key dynamic_topic format message_key message_key_field timestamp_key timestamp_format queue_full_retries rdkafka.*
kafka-rest: host port topic partition message_key time_key time_key_format include_tag_key tag_key
kinesis_firehose: region! delivery_stream! time_key time_key_format log_key compression role_arn external_id profile endpoint sts_endpoint auto_retry_requests
kinesis_streams: region! stream! time_key time_key_format log_key role_arn external_id profile endpoint sts_endpoint auto_retry_requests
logdna: api_key! logdna_host logdna_port hostname mac ip tags file app
loki: host port uri labels label_keys label_map_path remove_keys drop_single_key line_format auto_kubernetes_labels tenant_id tenant_id_key http_user http_passwd bearer_token header compress
nats: host port
nrlogs: api_key!|license_key! base_uri compress
null:
opensearch@1.5: host port path index type suppress_type_name compress buffer_size pipeline http_user http_passwd logstash_* time_key time_key_format time_key_nanos include_tag_key tag_key generate_id id_key write_operation replace_dots trace_output trace_error current_time_index aws_*
opentelemetry@1.5: host port logs_* metrics_uri traces_uri header http_user http_passwd proxy log_response_payload add_label compress
oracle_log_analytics@1.8: namespace! oci_la_log_group_id! oci_la_log_source_name! config_file_location profile_name proxy oci_config_in_record oci_la_*
pgsql: host port user password database table connection_options timestamp_key async min_pool_size max_pool_size cockroachdb
prometheus_exporter: metrics *
prometheus_remote_write: metrics *
s3: bucket! region json_date_key json_date_format total_file_size upload_chunk_size upload_timeout store_dir store_dir_limit_size s3_key_format s3_key_format_tag_delimiters static_file_path use_put_object compression content_type send_content_md5 canned_acl storage_class log_key preserve_data_ordering role_arn external_id profile endpoint sts_endpoint auto_retry_requests
skywalking@1.5: host port auth_token svc_name svc_inst_name
slack: webhook!
splunk: splunk_token! host port http_user http_passwd http_buffer_size compress channel http_debug_bad_request splunk_send_raw event_*
stackdriver: google_service_credentials service_account_email service_account_secret metadata_server resource location namespace node_id job task_id export_to_project_id k8s_cluster_name k8s_cluster_location labels_key labels log_name_key tag_prefix severity_key project_id_key autoformat_stackdriver_trace custom_k8s_regex resource_labels compress
stdout: format json_date_key json_date_format
syslog: syslog_message_key! host port mode syslog_* allow_longer_sd_id
tcp: host port format json_date_key json_date_format
td: api! database! table! region
vivo_exporter@1.8: metrics *
websocket: host port uri header format json_date_key json_date_format
`

// commonLogParameters may be given to every output.
var commonLogParameters = []string{"workers", "retry_limit", "tls", "tls.*", "net.*", "log_level"}

// logPlugin is one line of logPlugins.
type logPlugin struct {
	since   string
	metrics bool
	keys    []string
	must    [][]string // of each, one is to be given
}

// knownLogTypes are the parsed logPlugins and their names, sorted. They are a constant.
var knownLogTypes = sync.OnceValues(func() (map[string]logPlugin, []string) {
	out := map[string]logPlugin{}
	var names []string
	for line := range strings.Lines(strings.TrimSpace(logPlugins)) {
		head, rest, _ := strings.Cut(line, ":")
		name, since, _ := strings.Cut(head, "@")
		p := logPlugin{since: since}
		for word := range strings.FieldsSeq(rest) {
			if word == "metrics" {
				p.metrics = true
				continue
			}
			alternatives := strings.Split(strings.ReplaceAll(word, "!", ""), "|")
			p.keys = append(p.keys, alternatives...)
			if strings.Contains(word, "!") {
				p.must = append(p.must, alternatives)
			}
		}
		out[name], names = p, append(names, name)
	}
	slices.Sort(names)
	return out, names
})

func (p logPlugin) takes(key string) bool {
	return slices.ContainsFunc(append(slices.Clip(p.keys), commonLogParameters...), func(k string) bool {
		stem, open := strings.CutSuffix(k, "*")
		return k == key || open && strings.HasPrefix(key, stem)
	})
}

// logOutput judges one output of logging (flex-resources.md, 6.2 and Appendix A). Keys of parameters match in any case.
// One that is not whole lacks nothing: its shape is wrong, which has been said.
func (d *docDecoder) logOutput(o v1alpha1.LogOutput, whole bool) {
	types, names := knownLogTypes()
	p, ok := types[strings.ToLower(o.Type.Value)]
	if !ok {
		near := diag.Nearest(strings.ToLower(o.Type.Value), names)
		x := d.report(diag.Error, "link/unknown-log-type", o.Type.Range, fmt.Sprintf("unknown type %q of a log output", o.Type.Value),
			cmp.Or(didYouMean(near), "write the name of a Fluent Bit output plugin, such as file or http"))
		if near != "" && diag.Unmistakable(strings.ToLower(o.Type.Value), near, names) {
			x.Edits = []diag.Edit{{Op: diag.Set, At: o.Type.Range, Value: near}}
		}
		return
	}
	d.since(o.Type.Range, "the log output", o.Type.Value, p.since)
	if p.metrics {
		d.report(diag.Warning, "link/log-type-without-logs", o.Type.Range, fmt.Sprintf("log outputs of type %q carry metrics, and no logs", o.Type.Value), "choose another type, such as http or opentelemetry")
	}
	given := map[string]*syntax.Field{}
	if o.Parameters != nil {
		for i := range o.Parameters.Fields {
			f := &o.Parameters.Fields[i]
			given[strings.ToLower(f.Name)] = f
			d.logParameter(o, p, f)
		}
	}
	for _, must := range p.must {
		if whole && !slices.ContainsFunc(must, func(k string) bool { return given[k] != nil }) {
			d.report(diag.Error, "link/log-parameter-missing", o.Type.Range, fmt.Sprintf("a log output of type %q needs the parameter %s", o.Type.Value, alternatives(quoteAll(must))), "add it to parameters")
		}
	}
	if path, file := given["path"], given["file"]; p.takes("mkdir") && path != nil && file != nil && strings.HasPrefix(file.Value.Text, "/") {
		d.report(diag.Warning, "link/log-file-twice", file.Value.Range, fmt.Sprintf("file %s is a whole path, and path gives a folder too", quoteShort(file.Value.Text)), "write the folder in path and the name in file")
	}
}

func (d *docDecoder) logParameter(o v1alpha1.LogOutput, p logPlugin, f *syntax.Field) {
	key := strings.ToLower(f.Name)
	switch {
	case key == "name" || key == "match" || key == "match_regex":
		d.report(diag.Error, "link/log-parameter-reserved", f.Range, fmt.Sprintf("the gateway sets %q of a log output itself", f.Name), "remove it; outputs are chosen in runtimeLogs and accessLogs")
	case !p.takes(key):
		d.report(diag.Warning, "link/unknown-log-parameter", f.Range, fmt.Sprintf("a log output of type %q has no parameter %q", o.Type.Value, f.Name),
			cmp.Or(didYouMean(diag.Nearest(key, append(slices.Clip(p.keys), "workers", "retry_limit", "tls", "tls.verify", "tls.ca_file"))), "the manual of Fluent Bit 3.0 lists the parameters"))
	case key == "tls.verify" && slices.Contains([]string{"off", "false", "no"}, strings.ToLower(f.Value.Text)):
		d.report(diag.Warning, "link/log-output-unverified", f.Value.Range, "tls.verify is off, so whoever stands between the gateway and the receiver can read the logs", "give tls.ca_file, and leave tls.verify on")
	}
}
