package faas

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// SourceKind is what an event source mapping reads from.
type SourceKind string

const (
	SourceQueue      SourceKind = "sqs"
	SourceKinesis    SourceKind = "kinesis"
	SourceDynamoDB   SourceKind = "dynamodb"
	SourceMSK        SourceKind = "kafka"      // a cluster that has an ARN
	SourceKafka      SourceKind = "self-kafka" // a cluster that has bootstrap servers
	SourceMQ         SourceKind = "mq"
	SourceDocumentDB SourceKind = "documentdb"
)

// Stream reports whether the source has shards that are read in their order.
func (k SourceKind) Stream() bool { return k == SourceKinesis || k == SourceDynamoDB }

// Kafka reports whether the source has topics.
func (k SourceKind) Kafka() bool { return k == SourceMSK || k == SourceKafka }

// SourceKindOf returns the kind of the source that an ARN names, "" for none.
func SourceKindOf(arn string) SourceKind {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	resource := parts[5]
	switch service := parts[2]; {
	case service == "sqs" && resource != "":
		return SourceQueue
	case service == "kinesis" && strings.HasPrefix(resource, "stream/"):
		return SourceKinesis
	case service == "dynamodb" && strings.HasPrefix(resource, "table/") && strings.Contains(resource, "/stream/"):
		return SourceDynamoDB
	case service == "kafka" && strings.HasPrefix(resource, "cluster/"):
		return SourceMSK
	case service == "mq" && strings.HasPrefix(resource, "broker:"):
		return SourceMQ
	case service == "rds" && strings.HasPrefix(resource, "cluster:"):
		return SourceDocumentDB
	}
	return ""
}

// Positions in a stream at which a mapping begins.
const (
	PositionTrimHorizon = "TRIM_HORIZON"
	PositionLatest      = "LATEST"
	PositionAtTimestamp = "AT_TIMESTAMP"
)

// MappingSource is where a mapping reads, which no update changes.
type MappingSource struct {
	Kind         SourceKind `json:"kind"`
	ARN          string     `json:"arn,omitempty"`
	Endpoints    []string   `json:"endpoints,omitempty"` // bootstrap servers, host:port
	Topics       []string   `json:"topics,omitempty"`    // of Kafka: exactly one
	Queues       []string   `json:"queues,omitempty"`    // of a broker: exactly one
	Position     string     `json:"position,omitempty"`
	PositionTime *time.Time `json:"positionTime,omitempty"` // with PositionAtTimestamp only
}

// overlaps reports whether two mappings of one function would read the same.
func (s MappingSource) overlaps(o MappingSource) bool {
	if s.Kind != o.Kind || s.ARN != o.ARN {
		return false
	}
	shared := func(a, b []string) bool {
		return len(a) == 0 && len(b) == 0 || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
	}
	return shared(s.Endpoints, o.Endpoints) && shared(s.Topics, o.Topics) && shared(s.Queues, o.Queues)
}

// MappingSettings is how a mapping reads and what it does with failures. A field
// is nil where the kind of source has no such setting, and in a change where it
// stays as it is. An empty list, and a zero that says so, removes.
type MappingSettings struct {
	BatchSize       *int          `json:"batchSize,omitempty"`     // records in one invocation
	WindowSeconds   *int          `json:"windowSeconds,omitempty"` // how long a batch may gather, 0..300
	Filters         []string      `json:"filters,omitempty"`       // event patterns, of which one has to match
	OnFailure       *string       `json:"onFailure,omitempty"`     // an ARN or kafka://topic
	RetryAttempts   *int          `json:"retryAttempts,omitempty"` // -1 is until the records expire
	MaxAgeSeconds   *int          `json:"maxAgeSeconds,omitempty"` // of a record; -1 is no bound
	Parallel        *int          `json:"parallel,omitempty"`      // batches of one shard at a time
	Bisect          *bool         `json:"bisect,omitempty"`        // split a batch that failed
	TumblingSeconds *int          `json:"tumblingSeconds,omitempty"`
	ReportItems     []string      `json:"reportItems"`              // ReportBatchItemFailures, or nothing
	MaxConcurrency  *int          `json:"maxConcurrency,omitempty"` // 0 is no bound
	Pollers         *Pollers      `json:"pollers,omitempty"`
	Access          []AccessRef   `json:"access,omitempty"`
	ConsumerGroup   *string       `json:"consumerGroup,omitempty"`
	Schemas         *SchemaSource `json:"schemas,omitempty"`
	Documents       *Documents    `json:"documents,omitempty"`
	Metrics         []string      `json:"metrics,omitempty"`
	LogLevel        *string       `json:"logLevel,omitempty"`
	KMSKeyARN       *string       `json:"kmsKeyArn,omitempty"`
}

// Pollers is how many pollers are kept ready; nil is the source's own default.
type Pollers struct {
	Min   *int   `json:"min,omitempty"`
	Max   *int   `json:"max,omitempty"`
	Group string `json:"group,omitempty"`
}

// AccessRef is a secret, a network or a virtual host by which a source is reached.
type AccessRef struct {
	Type string `json:"type"`
	URI  string `json:"uri"`
}

// SchemaSource is the registry that knows the schemas of a topic's records.
type SchemaSource struct {
	URI      string      `json:"uri,omitempty"`
	Format   string      `json:"format,omitempty"` // JSON or SOURCE
	Access   []AccessRef `json:"access,omitempty"`
	Validate []string    `json:"validate,omitempty"` // KEY, VALUE
}

// Documents is the part of a document database whose changes are read.
type Documents struct {
	Database     string `json:"database,omitempty"`
	Collection   string `json:"collection,omitempty"`
	FullDocument string `json:"fullDocument,omitempty"`
}

// EventSourceMapping is a poller's durable configuration.
type EventSourceMapping struct {
	UUID      string            `json:"uuid"`
	Function  FunctionID        `json:"function"`
	Qualifier string            `json:"qualifier,omitempty"` // as it was named
	Source    MappingSource     `json:"source"`
	Settings  MappingSettings   `json:"settings"`
	Enabled   bool              `json:"enabled"`
	Tags      map[string]string `json:"tags,omitempty"`
	Modified  time.Time         `json:"modified"`
}

// FunctionARN is what the mapping invokes.
func (m *EventSourceMapping) FunctionARN() string { return FunctionARN(m.Function, m.Qualifier) }

// ARN is the mapping's own name.
func (m *EventSourceMapping) ARN() string {
	return "arn:" + regionPartition(m.Function.Region) + ":lambda:" + m.Function.Region + ":" + m.Function.Account + ":event-source-mapping:" + m.UUID
}

// Duplicates reports whether two mappings would give the same records to the same
// function.
func (m *EventSourceMapping) Duplicates(o *EventSourceMapping) bool {
	return m.Function == o.Function && m.Qualifier == o.Qualifier && m.Source.overlaps(o.Source)
}

// Over returns the settings with the fields of the change that are not nil.
func (s MappingSettings) Over(old MappingSettings) MappingSettings {
	from, to := reflect.ValueOf(s), reflect.ValueOf(&old).Elem()
	for i := range from.NumField() {
		if field := from.Field(i); !field.IsNil() {
			to.Field(i).Set(field)
		}
	}
	return old
}

// WithDefaults returns the settings with what the kind of source has by default
// where nothing was set. UUID is the mapping's.
func (s MappingSettings) WithDefaults(kind SourceKind, uuid string) MappingSettings {
	size, group := 100, uuid
	if kind == SourceQueue {
		size = 10
	}
	zero, one, unbounded, no, nowhere := 0, 1, -1, false, ""
	d := MappingSettings{BatchSize: &size, WindowSeconds: &zero}
	switch {
	case kind == SourceQueue:
		d.ReportItems = []string{}
	case kind.Stream():
		d.ReportItems, d.OnFailure, d.Bisect = []string{}, &nowhere, &no
		d.RetryAttempts, d.MaxAgeSeconds, d.Parallel, d.TumblingSeconds = &unbounded, &unbounded, &one, &zero
	case kind.Kafka():
		d.OnFailure, d.ConsumerGroup = &nowhere, &group
	}
	return s.Over(d)
}
