package lambda

import (
	"math"
	"strings"
	"time"

	"hearth/faas"
	"hearth/registry"
)

// mappingEndpoints lists the operations on event source mappings.
func mappingEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"CreateEventSourceMapping": typed((*Handler).createMapping),
		"GetEventSourceMapping":    typed((*Handler).getMapping),
		"UpdateEventSourceMapping": typed((*Handler).updateMapping),
		"DeleteEventSourceMapping": typed((*Handler).deleteMapping),
		"ListEventSourceMappings":  typed((*Handler).listMappings),
	}
}

// States of a mapping. A change is done when it is answered; the answer has the
// state of one that is under way, as Lambda's, whose clients wait for the other.
const (
	mappingCreating = "Creating"
	mappingUpdating = "Updating"
	mappingDeleting = "Deleting"
	mappingEnabled  = "Enabled"
	mappingDisabled = "Disabled"
)

// notPolled is the last result of a mapping that nothing reads for.
const notPolled = "PROBLEM: This version of Hearth keeps event source mappings and does not poll their sources. No records are processed."

// mappingSettings are the members that creating and updating a mapping share.
type mappingSettings struct {
	AmazonManagedKafkaEventSourceConfig *kafkaConfig
	BatchSize                           *int
	BisectBatchOnFunctionError          *bool
	DestinationConfig                   *destinationConfig
	DocumentDBEventSourceConfig         *documentConfig
	Enabled                             *bool
	FilterCriteria                      *filterCriteria
	FunctionName                        *string
	FunctionResponseTypes               []string
	KMSKeyArn                           *string
	LoggingConfig                       *mappingLogging
	MaximumBatchingWindowInSeconds      *int
	MaximumRecordAgeInSeconds           *int
	MaximumRetryAttempts                *int
	MetricsConfig                       *mappingMetrics
	ParallelizationFactor               *int
	ProvisionedPollerConfig             *pollerConfig
	ScalingConfig                       *scalingConfig
	SelfManagedKafkaEventSourceConfig   *kafkaConfig
	SourceAccessConfigurations          []sourceAccess
	TumblingWindowInSeconds             *int
}

type createMappingInput struct {
	mappingSettings
	EventSourceArn            *string
	Queues                    []string
	SelfManagedEventSource    *selfManagedSource
	StartingPosition          *string
	StartingPositionTimestamp *float64 // seconds since 1970
	Tags                      map[string]string
	Topics                    []string
}

// The structures that go in and come out the same.
type (
	kafkaConfig struct {
		ConsumerGroupId      *string
		SchemaRegistryConfig *schemaRegistry `json:",omitempty"`
	}
	schemaRegistry struct {
		AccessConfigs           []sourceAccess     `json:",omitempty"`
		EventRecordFormat       *string            `json:",omitempty"`
		SchemaRegistryURI       *string            `json:",omitempty"`
		SchemaValidationConfigs []schemaValidation `json:",omitempty"`
	}
	schemaValidation struct{ Attribute *string }
	sourceAccess     struct{ Type, URI *string }
	documentConfig   struct {
		CollectionName *string `json:",omitempty"`
		DatabaseName   *string `json:",omitempty"`
		FullDocument   *string `json:",omitempty"`
	}
	filterCriteria    struct{ Filters []filter }
	filter            struct{ Pattern *string }
	mappingLogging    struct{ SystemLogLevel *string }
	mappingMetrics    struct{ Metrics []string }
	scalingConfig     struct{ MaximumConcurrency *int }
	selfManagedSource struct{ Endpoints map[string][]string }
	pollerConfig      struct {
		MaximumPollers  *int    `json:",omitempty"`
		MinimumPollers  *int    `json:",omitempty"`
		PollerGroupName *string `json:",omitempty"`
	}
)

const bootstrapServers = "KAFKA_BOOTSTRAP_SERVERS"

// source is where the mapping is to read, of which the kind may be none.
func (in *createMappingInput) source() (faas.MappingSource, error) {
	s := faas.MappingSource{ARN: value(in.EventSourceArn), Topics: in.Topics, Queues: in.Queues, Position: value(in.StartingPosition)}
	s.Kind = faas.SourceKindOf(s.ARN)
	if in.SelfManagedEventSource != nil {
		if s.ARN != "" {
			return s, parameterError("EventSourceArn and SelfManagedEventSource exclude each other. Leave one of them out.")
		}
		s.Kind, s.Endpoints = faas.SourceKafka, in.SelfManagedEventSource.Endpoints[bootstrapServers]
		if len(s.Endpoints) == 0 {
			return s, parameterError("Required 'endpoints' parameter is missing.")
		}
	}
	if seconds := in.StartingPositionTimestamp; seconds != nil {
		whole, fraction := math.Modf(*seconds)
		at := time.Unix(int64(whole), int64(fraction*1e9)).UTC()
		s.PositionTime = &at
	}
	return s, nil
}

// settings are what is to be set for a source of a kind.
func (in *mappingSettings) settings(kind faas.SourceKind) (faas.MappingSettings, error) {
	s := faas.MappingSettings{
		BatchSize: in.BatchSize, WindowSeconds: in.MaximumBatchingWindowInSeconds, RetryAttempts: in.MaximumRetryAttempts,
		MaxAgeSeconds: in.MaximumRecordAgeInSeconds, Parallel: in.ParallelizationFactor, Bisect: in.BisectBatchOnFunctionError,
		TumblingSeconds: in.TumblingWindowInSeconds, ReportItems: in.FunctionResponseTypes, KMSKeyARN: in.KMSKeyArn,
		Access: accessIn(in.SourceAccessConfigurations),
	}
	if in.FilterCriteria != nil {
		s.Filters = []string{}
		for _, f := range in.FilterCriteria.Filters {
			s.Filters = append(s.Filters, value(f.Pattern))
		}
	}
	if d := in.DestinationConfig; d != nil {
		if d.OnSuccess != nil {
			return s, parameterError("Unsupported DestinationConfig parameter for given event source mapping type.")
		}
		to := string(d.OnFailure.to())
		s.OnFailure = &to
	}
	if c := in.ScalingConfig; c != nil {
		limit := value(c.MaximumConcurrency)
		s.MaxConcurrency = &limit
	}
	if p := in.ProvisionedPollerConfig; p != nil {
		s.Pollers = &faas.Pollers{Min: p.MinimumPollers, Max: p.MaximumPollers, Group: value(p.PollerGroupName)}
	}
	if c := in.DocumentDBEventSourceConfig; c != nil {
		s.Documents = &faas.Documents{Database: value(c.DatabaseName), Collection: value(c.CollectionName), FullDocument: value(c.FullDocument)}
	}
	if in.MetricsConfig != nil {
		s.Metrics = append([]string{}, in.MetricsConfig.Metrics...)
	}
	if in.LoggingConfig != nil {
		s.LogLevel = in.LoggingConfig.SystemLogLevel
	}
	return s, in.kafkaSettings(kind, &s)
}

// kafkaSettings reads the one of two members that is the kind's.
func (in *mappingSettings) kafkaSettings(kind faas.SourceKind, s *faas.MappingSettings) error {
	for _, c := range []struct {
		name   string
		kind   faas.SourceKind
		config *kafkaConfig
	}{
		{"amazonManagedKafkaEventSourceConfig", faas.SourceMSK, in.AmazonManagedKafkaEventSourceConfig},
		{"selfManagedKafkaEventSourceConfig", faas.SourceKafka, in.SelfManagedKafkaEventSourceConfig},
	} {
		if c.config == nil {
			continue
		}
		if c.kind != kind {
			return parameterError("Unsupported '" + c.name + "' parameter for given event source mapping type.")
		}
		s.ConsumerGroup = c.config.ConsumerGroupId
		if r := c.config.SchemaRegistryConfig; r != nil {
			s.Schemas = &faas.SchemaSource{URI: value(r.SchemaRegistryURI), Format: value(r.EventRecordFormat), Access: accessIn(r.AccessConfigs)}
			for _, v := range r.SchemaValidationConfigs {
				s.Schemas.Validate = append(s.Schemas.Validate, value(v.Attribute))
			}
		}
	}
	return nil
}

func accessIn(all []sourceAccess) []faas.AccessRef {
	if all == nil {
		return nil
	}
	refs := make([]faas.AccessRef, len(all))
	for i, a := range all {
		refs[i] = faas.AccessRef{Type: value(a.Type), URI: value(a.URI)}
	}
	return refs
}

func (h *Handler) createMapping(c *call, in *createMappingInput) (any, error) {
	source, err := in.source()
	if err != nil {
		return nil, err
	}
	settings, err := in.settings(source.Kind)
	if err != nil {
		return nil, err
	}
	m := faas.EventSourceMapping{Source: source, Settings: settings, Enabled: in.Enabled == nil || *in.Enabled, Tags: in.Tags}
	if m.Function, m.Qualifier, err = target(c.scope, *in.FunctionName, nil); err != nil {
		return nil, err
	}
	made, err := h.mappings.CreateMapping(c.ctx(), m)
	if err != nil {
		return nil, err
	}
	return describeMapping(made, mappingCreating), nil
}

type mappingInput struct{ UUID *string }

func (h *Handler) getMapping(c *call, in *mappingInput) (any, error) {
	m, err := h.mappings.GetMapping(c.ctx(), c.scope, *in.UUID)
	if err != nil {
		return nil, err
	}
	return describeMapping(m, settledState(m)), nil
}

func settledState(m *faas.EventSourceMapping) string {
	if m.Enabled {
		return mappingEnabled
	}
	return mappingDisabled
}

type updateMappingInput struct {
	mappingSettings
	UUID *string
}

func (h *Handler) updateMapping(c *call, in *updateMappingInput) (any, error) {
	old, err := h.mappings.GetMapping(c.ctx(), c.scope, *in.UUID)
	if err != nil {
		return nil, err
	}
	patch := registry.MappingPatch{Enabled: in.Enabled}
	if patch.Settings, err = in.settings(old.Source.Kind); err != nil { // a mapping's kind does not change
		return nil, err
	}
	if in.FunctionName != nil {
		id, qualifier, err := target(c.scope, *in.FunctionName, nil)
		if err != nil {
			return nil, err
		}
		patch.Function, patch.Qualifier = &id, qualifier
	}
	made, err := h.mappings.UpdateMapping(c.ctx(), c.scope, *in.UUID, patch)
	if err != nil {
		return nil, err
	}
	return describeMapping(made, mappingUpdating), nil
}

func (h *Handler) deleteMapping(c *call, in *mappingInput) (any, error) {
	gone, err := h.mappings.DeleteMapping(c.ctx(), c.scope, *in.UUID)
	if err != nil {
		return nil, err
	}
	return describeMapping(gone, mappingDeleting), nil
}

// maxMappings is the largest page of mappings, whatever MaxItems asks for.
const maxMappings = 100

type listMappingsInput struct {
	EventSourceArn *string
	FunctionName   *string
	Marker         *string
	MaxItems       *int
}

type listMappingsOutput struct {
	EventSourceMappings []*mappingConfiguration
	NextMarker          string `json:",omitempty"`
}

func (h *Handler) listMappings(c *call, in *listMappingsInput) (any, error) {
	filter := registry.MappingFilter{Scope: c.scope, SourceARN: value(in.EventSourceArn)}
	if in.FunctionName != nil {
		id, qualifier, err := target(c.scope, *in.FunctionName, nil)
		if err != nil {
			return nil, err
		}
		filter.FunctionARN = faas.FunctionARN(id, qualifier)
	}
	size := maxMappings
	if in.MaxItems != nil {
		size = min(*in.MaxItems, maxMappings)
	}
	page, err := h.mappings.ListMappings(c.ctx(), filter, value(in.Marker), size)
	if err != nil {
		return nil, err
	}
	out := &listMappingsOutput{EventSourceMappings: make([]*mappingConfiguration, 0, len(page.Items)), NextMarker: page.Next}
	for _, m := range page.Items {
		out.EventSourceMappings = append(out.EventSourceMappings, describeMapping(m, settledState(m)))
	}
	return out, nil
}

// mappingUUID returns the UUID in the ARN of a mapping of the scope, false for any
// other ARN.
func mappingUUID(scope faas.Scope, arn string) (string, bool) {
	nameless := faas.EventSourceMapping{Function: faas.FunctionID{Scope: scope}}
	return strings.CutPrefix(arn, nameless.ARN())
}
