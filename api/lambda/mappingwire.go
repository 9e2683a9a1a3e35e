package lambda

import "hearth/faas"

// mappingConfiguration is the model's EventSourceMappingConfiguration. What a kind
// of source does not have is left out.
type mappingConfiguration struct {
	UUID                                string
	StartingPosition                    string          `json:",omitempty"`
	StartingPositionTimestamp           *epoch          `json:",omitempty"`
	BatchSize                           *int            `json:",omitempty"`
	MaximumBatchingWindowInSeconds      *int            `json:",omitempty"`
	ParallelizationFactor               *int            `json:",omitempty"`
	EventSourceArn                      string          `json:",omitempty"`
	FilterCriteria                      *filterCriteria `json:",omitempty"`
	FunctionArn                         string
	LastModified                        epoch
	LastProcessingResult                string
	State                               string
	StateTransitionReason               string
	DestinationConfig                   *failureConfig     `json:",omitempty"`
	Topics                              []string           `json:",omitempty"`
	Queues                              []string           `json:",omitempty"`
	SourceAccessConfigurations          []sourceAccess     `json:",omitempty"`
	SelfManagedEventSource              *selfManagedSource `json:",omitempty"`
	MaximumRecordAgeInSeconds           *int               `json:",omitempty"`
	BisectBatchOnFunctionError          *bool              `json:",omitempty"`
	MaximumRetryAttempts                *int               `json:",omitempty"`
	TumblingWindowInSeconds             *int               `json:",omitempty"`
	FunctionResponseTypes               []string           `json:",omitzero"` // an empty list is shown
	AmazonManagedKafkaEventSourceConfig *kafkaConfig       `json:",omitempty"`
	SelfManagedKafkaEventSourceConfig   *kafkaConfig       `json:",omitempty"`
	ScalingConfig                       *scalingConfig     `json:",omitempty"`
	DocumentDBEventSourceConfig         *documentConfig    `json:",omitempty"`
	KMSKeyArn                           string             `json:",omitempty"`
	EventSourceMappingArn               string
	MetricsConfig                       *mappingMetrics `json:",omitempty"`
	LoggingConfig                       *mappingLogging `json:",omitempty"`
	ProvisionedPollerConfig             *pollerConfig   `json:",omitempty"`
}

// failureConfig is a DestinationConfig that has one side only.
type failureConfig struct{ OnFailure *destination }

// describeMapping is the answer about a mapping in a state.
func describeMapping(m *faas.EventSourceMapping, state string) *mappingConfiguration {
	s := m.Settings
	out := &mappingConfiguration{
		UUID: m.UUID, EventSourceMappingArn: m.ARN(), FunctionArn: m.FunctionARN(), LastModified: epoch(m.Modified),
		State: state, StateTransitionReason: transitionReason(m.Source.Kind), LastProcessingResult: notPolled,
		EventSourceArn: m.Source.ARN, Topics: m.Source.Topics, Queues: m.Source.Queues, StartingPosition: m.Source.Position,
		BatchSize: s.BatchSize, MaximumBatchingWindowInSeconds: s.WindowSeconds, ParallelizationFactor: s.Parallel,
		MaximumRecordAgeInSeconds: s.MaxAgeSeconds, MaximumRetryAttempts: s.RetryAttempts, BisectBatchOnFunctionError: s.Bisect,
		TumblingWindowInSeconds: s.TumblingSeconds, FunctionResponseTypes: s.ReportItems,
		SourceAccessConfigurations: accessOut(s.Access), KMSKeyArn: value(s.KMSKeyARN),
	}
	if at := m.Source.PositionTime; at != nil {
		seconds := epoch(*at)
		out.StartingPositionTimestamp = &seconds
	}
	if m.Source.Endpoints != nil {
		out.SelfManagedEventSource = &selfManagedSource{map[string][]string{bootstrapServers: m.Source.Endpoints}}
	}
	if s.OnFailure != nil {
		out.DestinationConfig = &failureConfig{from(faas.Destination(*s.OnFailure))}
	}
	for _, pattern := range s.Filters {
		if out.FilterCriteria == nil {
			out.FilterCriteria = &filterCriteria{}
		}
		out.FilterCriteria.Filters = append(out.FilterCriteria.Filters, filter{&pattern})
	}
	out.describeKinds(m.Source.Kind, s)
	return out
}

// describeKinds fills in what some kinds of source have and others not.
func (out *mappingConfiguration) describeKinds(kind faas.SourceKind, s faas.MappingSettings) {
	if value(s.MaxConcurrency) > 0 {
		out.ScalingConfig = &scalingConfig{s.MaxConcurrency}
	}
	if len(s.Metrics) > 0 {
		out.MetricsConfig = &mappingMetrics{s.Metrics}
	}
	if s.LogLevel != nil {
		out.LoggingConfig = &mappingLogging{s.LogLevel}
	}
	if p := s.Pollers; p != nil && *p != (faas.Pollers{}) {
		out.ProvisionedPollerConfig = &pollerConfig{MinimumPollers: p.Min, MaximumPollers: p.Max, PollerGroupName: orNil(p.Group)}
	}
	if d := s.Documents; d != nil {
		out.DocumentDBEventSourceConfig = &documentConfig{DatabaseName: orNil(d.Database), CollectionName: orNil(d.Collection), FullDocument: orNil(d.FullDocument)}
	}
	if !kind.Kafka() {
		return
	}
	config := &kafkaConfig{ConsumerGroupId: s.ConsumerGroup}
	if r := s.Schemas; r != nil {
		config.SchemaRegistryConfig = &schemaRegistry{SchemaRegistryURI: orNil(r.URI), EventRecordFormat: orNil(r.Format), AccessConfigs: accessOut(r.Access)}
		for _, attribute := range r.Validate {
			config.SchemaRegistryConfig.SchemaValidationConfigs = append(config.SchemaRegistryConfig.SchemaValidationConfigs, schemaValidation{&attribute})
		}
	}
	if kind == faas.SourceMSK {
		out.AmazonManagedKafkaEventSourceConfig = config
	} else {
		out.SelfManagedKafkaEventSourceConfig = config
	}
}

// transitionReason is who caused a state; Lambda spells it in two ways.
func transitionReason(kind faas.SourceKind) string {
	if kind.Stream() {
		return "User action"
	}
	return "USER_INITIATED"
}

func accessOut(refs []faas.AccessRef) []sourceAccess {
	var all []sourceAccess
	for _, r := range refs {
		all = append(all, sourceAccess{&r.Type, &r.URI})
	}
	return all
}

// orNil points at a text, where there is one.
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
