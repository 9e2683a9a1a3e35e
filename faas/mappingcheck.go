package faas

import (
	"reflect"
	"slices"
	"strings"
)

// mappingFault is a mapping that cannot be. The sentences are Lambda's own where
// they are known.
func mappingFault(field, format string, args ...any) error {
	return Errorf(CodeInvalid, field, format, args...)
}

// settingRule says which kinds of source have a setting, and how Lambda calls it.
type settingRule struct {
	name  string
	kinds []SourceKind
}

var (
	allSources  = []SourceKind{SourceQueue, SourceKinesis, SourceDynamoDB, SourceMSK, SourceKafka, SourceMQ, SourceDocumentDB}
	kafkas      = []SourceKind{SourceMSK, SourceKafka}
	streams     = []SourceKind{SourceKinesis, SourceDynamoDB}
	streamKafka = []SourceKind{SourceKinesis, SourceDynamoDB, SourceMSK, SourceKafka}
)

// settingRules has the fields of MappingSettings; a test holds it complete.
var settingRules = map[string]settingRule{
	"BatchSize":       {"batchSize", allSources},
	"WindowSeconds":   {"maximumBatchingWindowInSeconds", allSources},
	"Filters":         {"filterCriteria", allSources},
	"OnFailure":       {"DestinationConfig", streamKafka},
	"RetryAttempts":   {"maximumRetryAttempts", streamKafka},
	"MaxAgeSeconds":   {"maximumRecordAgeInSeconds", streamKafka},
	"Parallel":        {"parallelizationFactor", streams},
	"Bisect":          {"bisectBatchOnFunctionError", streamKafka},
	"TumblingSeconds": {"tumblingWindowInSeconds", streams},
	"ReportItems":     {"functionResponseTypes", []SourceKind{SourceQueue, SourceKinesis, SourceDynamoDB, SourceMSK, SourceKafka}},
	"MaxConcurrency":  {"scalingConfig", []SourceKind{SourceQueue}},
	"Pollers":         {"provisionedPollerConfig", []SourceKind{SourceQueue, SourceMSK, SourceKafka}},
	"Access":          {"sourceAccessConfigurations", []SourceKind{SourceMSK, SourceKafka, SourceMQ, SourceDocumentDB}},
	"ConsumerGroup":   {"consumerGroupId", kafkas},
	"Schemas":         {"schemaRegistryConfig", kafkas},
	"Documents":       {"documentDBEventSourceConfig", []SourceKind{SourceDocumentDB}},
	"Metrics":         {"metricsConfig", allSources},
	"LogLevel":        {"loggingConfig", kafkas},
	"KMSKeyARN":       {"kmsKeyArn", allSources},
}

// accessTypes are the ways to reach each kind of source.
var accessTypes = map[SourceKind][]string{
	SourceMSK:        {"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH", "BASIC_AUTH"},
	SourceKafka:      {"BASIC_AUTH", "VPC_SUBNET", "VPC_SECURITY_GROUP", "SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE"},
	SourceMQ:         {"BASIC_AUTH", "VIRTUAL_HOST"},
	SourceDocumentDB: {"BASIC_AUTH"},
}

func unsupportedFor(name string) error {
	quoted := "'" + name + "'"
	if name == "DestinationConfig" {
		quoted = name
	}
	return mappingFault(name, "Unsupported %s parameter for given event source mapping type.", quoted)
}

// Validate returns why a mapping cannot be, or nil: the first thing that is wrong.
// The function and bounds of numbers that hold for every kind are not looked at.
func (m *EventSourceMapping) Validate() error {
	if err := m.Source.validate(); err != nil {
		return err
	}
	return m.Settings.Validate(m.Source)
}

func (s MappingSource) validate() error {
	switch {
	case s.Kind == "":
		return mappingFault("eventSourceArn", "Unrecognized event source.")
	case !s.Kind.Kafka() && s.Topics != nil:
		return unsupportedFor("topics")
	case s.Kind != SourceMQ && s.Queues != nil:
		return unsupportedFor("queues")
	case s.Kind.Kafka() && len(s.Topics) == 0:
		return missingParameter("topics")
	case s.Kind == SourceMQ && len(s.Queues) == 0:
		return missingParameter("queues")
	}
	return s.validatePosition()
}

func missingParameter(name string) error {
	return mappingFault(name, "Required '%s' parameter is missing.", name)
}

func (s MappingSource) validatePosition() error {
	const field = "startingPosition"
	if s.Kind == SourceQueue || s.Kind == SourceMQ {
		if s.Position != "" || s.PositionTime != nil {
			name := map[SourceKind]string{SourceQueue: "SQS", SourceMQ: "AmazonMQ"}[s.Kind]
			return mappingFault(field, "StartingPosition is not valid for %s event sources.", name)
		}
		return nil
	}
	switch {
	case s.Position == "":
		return mappingFault(field, "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.")
	case s.Position == PositionAtTimestamp && s.Kind == SourceDynamoDB:
		return mappingFault(field, "Unsupported starting position for arn type: %s", s.ARN)
	case s.Position == PositionAtTimestamp && s.PositionTime == nil:
		return mappingFault(field, "StartingPosition AT_TIMESTAMP requires StartingPositionTimestamp.")
	case s.Position != PositionAtTimestamp && s.PositionTime != nil:
		return mappingFault(field, "Timestamp only valid with StartingPosition AT_TIMESTAMP")
	case s.PositionTime != nil && s.PositionTime.Unix() < 0:
		return mappingFault(field, "Received Exception while reading from provided stream. class java.lang.Long can not be converted to a Timestamp")
	}
	return nil
}

// Validate returns why the settings cannot be those of a mapping that reads from
// the source, or nil.
func (s MappingSettings) Validate(source MappingSource) error {
	fields := reflect.ValueOf(s)
	for i := range fields.NumField() {
		rule := settingRules[fields.Type().Field(i).Name]
		if !fields.Field(i).IsNil() && !slices.Contains(rule.kinds, source.Kind) {
			return unsupportedFor(rule.name)
		}
	}
	for _, check := range []func(MappingSource) error{s.validateBatch, s.validateFailures, s.validateAccess} {
		if err := check(source); err != nil {
			return err
		}
	}
	for _, pattern := range s.Filters {
		if !ValidEventPattern([]byte(pattern)) {
			return mappingFault("filterCriteria", "Invalid filter pattern definition.")
		}
	}
	return nil
}

func (s MappingSettings) validateBatch(source MappingSource) error {
	size, window := number(s.BatchSize, 1), number(s.WindowSeconds, 0)
	if source.Kind == SourceQueue {
		fifo := strings.HasSuffix(source.ARN, ".fifo")
		switch {
		case fifo && size > 10:
			return mappingFault("batchSize", "Maximum batch size must be between 1 and 10 inclusive")
		case fifo && window > 0:
			return unsupportedFor("maximumBatchingWindowInSeconds")
		case size > 10 && window == 0:
			return mappingFault("batchSize", "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
		}
	}
	if p := s.Pollers; p != nil && p.Min != nil && p.Max != nil && *p.Min > *p.Max {
		return mappingFault("provisionedPollerConfig", "MinimumPollers (%d) must not be greater than MaximumPollers (%d).", *p.Min, *p.Max)
	}
	return nil
}

func number(p *int, otherwise int) int {
	if p == nil {
		return otherwise
	}
	return *p
}

func (s MappingSettings) validateFailures(MappingSource) error {
	if age := number(s.MaxAgeSeconds, -1); age != -1 && age < 60 {
		return mappingFault("maximumRecordAgeInSeconds", "MaximumRecordAgeInSeconds must be -1 or between 60 and 604800.")
	}
	if to := s.OnFailure; to != nil && *to != "" && !strings.HasPrefix(*to, "kafka://") {
		parts := strings.SplitN(*to, ":", 6)
		if len(parts) < 6 || !slices.Contains([]string{"sqs", "sns", "s3"}, parts[2]) {
			return mappingFault("destinationConfig", "The destination ARN %s is invalid. It must be a queue, a topic, a bucket or kafka://TOPIC.", clip(*to))
		}
	}
	return nil
}

func (s MappingSettings) validateAccess(source MappingSource) error {
	if len(s.Access) == 0 && (source.Kind == SourceKafka || source.Kind == SourceMQ || source.Kind == SourceDocumentDB) {
		return missingParameter("sourceAccessConfigurations")
	}
	for _, a := range s.Access {
		if !slices.Contains(accessTypes[source.Kind], a.Type) {
			return mappingFault("sourceAccessConfigurations", "Unsupported source access configuration type %s for given event source mapping type.", clip(a.Type))
		}
	}
	if source.Kind == SourceDocumentDB && (s.Documents == nil || s.Documents.Database == "") {
		return missingParameter("documentDBEventSourceConfig.databaseName")
	}
	return nil
}
