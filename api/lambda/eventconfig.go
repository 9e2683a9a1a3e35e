package lambda

import (
	"encoding/json"
	"errors"
	"time"

	"hearth/faas"
	"hearth/registry"
)

// eventEndpoints lists the operations on the settings of asynchronous invocations.
func eventEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"PutFunctionEventInvokeConfig":    typed((*Handler).putEventInvokeConfig),
		"UpdateFunctionEventInvokeConfig": typed((*Handler).updateEventInvokeConfig),
		"GetFunctionEventInvokeConfig":    typed((*Handler).getEventInvokeConfig),
		"DeleteFunctionEventInvokeConfig": typed((*Handler).deleteEventInvokeConfig),
		"ListFunctionEventInvokeConfigs":  typed((*Handler).listEventInvokeConfigs),
	}
}

// deadLetterConfig is the model's DeadLetterConfig, in and out.
type deadLetterConfig struct{ TargetArn *string }

// destinationConfig is the model's DestinationConfig, in and out.
type destinationConfig struct{ OnSuccess, OnFailure *destination }

type destination struct {
	Destination *string `json:",omitempty"`
}

// to is where outcomes are to go: "" where a request says so or nothing.
func (d *destination) to() faas.Destination {
	if d == nil {
		return ""
	}
	return faas.Destination(value(d.Destination))
}

// from is the inverse: Lambda shows an empty object where nothing is set.
func from(to faas.Destination) *destination {
	if to == "" {
		return &destination{}
	}
	text := string(to)
	return &destination{&text}
}

type eventInvokeConfigInput struct {
	FunctionName, Qualifier  *string
	DestinationConfig        *destinationConfig
	MaximumEventAgeInSeconds *int
	MaximumRetryAttempts     *int
}

// eventInvokeConfig is the model's FunctionEventInvokeConfig.
type eventInvokeConfig struct {
	LastModified             epoch
	FunctionArn              string
	MaximumRetryAttempts     *int `json:",omitempty"`
	MaximumEventAgeInSeconds *int `json:",omitempty"`
	DestinationConfig        destinationConfig
}

// epoch is a time as Lambda prints it in these operations: seconds since 1970, as a
// number with the milliseconds behind the point.
type epoch time.Time

func (t epoch) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Time(t).UnixMilli()) / 1000)
}

func describeEventConfig(id faas.FunctionID, c *registry.EventConfig) *eventInvokeConfig {
	out := &eventInvokeConfig{
		LastModified: epoch(c.Modified), FunctionArn: faas.FunctionARN(id, c.Qualifier),
		MaximumRetryAttempts: c.Config.Retries,
		DestinationConfig:    destinationConfig{from(c.Config.OnSuccess), from(c.Config.OnFailure)},
	}
	if c.Config.MaxAgeSeconds != 0 {
		out.MaximumEventAgeInSeconds = &c.Config.MaxAgeSeconds
	}
	return out
}

// target resolves the qualifier whose settings an operation changes.
func (in *eventInvokeConfigInput) target(c *call) (faas.FunctionID, string, error) {
	if in.DestinationConfig == nil && in.MaximumEventAgeInSeconds == nil && in.MaximumRetryAttempts == nil {
		return faas.FunctionID{}, "", parameterError("You must specify at least one of error handling or destination setting.")
	}
	return target(c.scope, *in.FunctionName, in.Qualifier)
}

func (h *Handler) putEventInvokeConfig(c *call, in *eventInvokeConfigInput) (any, error) {
	id, qualifier, err := in.target(c)
	if err != nil {
		return nil, err
	}
	asked := faas.AsyncConfig{Retries: in.MaximumRetryAttempts, MaxAgeSeconds: value(in.MaximumEventAgeInSeconds)}
	if d := in.DestinationConfig; d != nil {
		asked.OnSuccess, asked.OnFailure = d.OnSuccess.to(), d.OnFailure.to()
	}
	config, err := h.events.PutEventConfig(c.ctx(), id, qualifier, asked)
	if err != nil {
		return nil, wordEventTarget(err)
	}
	return describeEventConfig(id, config), nil
}

// updateEventInvokeConfig changes what was sent. Both destinations are one setting,
// which Lambda replaces as a whole.
func (h *Handler) updateEventInvokeConfig(c *call, in *eventInvokeConfigInput) (any, error) {
	id, qualifier, err := in.target(c)
	if err != nil {
		return nil, err
	}
	patch := registry.EventConfigPatch{Retries: in.MaximumRetryAttempts, MaxAgeSeconds: in.MaximumEventAgeInSeconds}
	if d := in.DestinationConfig; d != nil {
		success, failure := d.OnSuccess.to(), d.OnFailure.to()
		patch.OnSuccess, patch.OnFailure = &success, &failure
	}
	config, err := h.events.UpdateEventConfig(c.ctx(), id, qualifier, patch)
	if err != nil {
		return nil, wordEventTarget(err)
	}
	return describeEventConfig(id, config), nil
}

// wordEventTarget says of a function or qualifier that is not there what Lambda
// says where their settings are changed.
func wordEventTarget(err error) error {
	if errors.Is(err, faas.ErrNoFunction) || errors.Is(err, faas.ErrNoQualifier) {
		return parameterError("The function doesn't exist.")
	}
	return err
}

type eventConfigInput struct{ FunctionName, Qualifier *string }

func (h *Handler) getEventInvokeConfig(c *call, in *eventConfigInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	config, err := h.events.GetEventConfig(c.ctx(), id, qualifier)
	if err != nil {
		return nil, wordNoEventConfig(err, id, qualifier)
	}
	return describeEventConfig(id, config), nil
}

func (h *Handler) deleteEventInvokeConfig(c *call, in *eventConfigInput) (any, error) {
	id, qualifier, err := target(c.scope, *in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return nil, wordNoEventConfig(h.events.DeleteEventConfig(c.ctx(), id, qualifier), id, qualifier)
}

// wordNoEventConfig gives one answer whether the settings are missing or what they
// would belong to, as Lambda does where settings are read or deleted.
func wordNoEventConfig(err error, id faas.FunctionID, qualifier string) error {
	if err == nil || !faas.IsCode(err, faas.CodeNotFound) {
		return err
	}
	if qualifier == "" {
		qualifier = faas.Latest
	}
	return &apiError{wire: wireNotFound, message: "The function " + faas.FunctionARN(id, qualifier) + " doesn't have an EventInvokeConfig"}
}

type listEventConfigsInput struct {
	FunctionName *string
	Marker       *string
	MaxItems     *int
}

type listEventConfigsOutput struct {
	FunctionEventInvokeConfigs []*eventInvokeConfig
	NextMarker                 string `json:",omitempty"`
}

func (h *Handler) listEventInvokeConfigs(c *call, in *listEventConfigsInput) (any, error) {
	id, err := unqualified(c.scope, *in.FunctionName)
	if err != nil {
		return nil, err
	}
	page, err := h.events.ListEventConfigs(c.ctx(), id, value(in.Marker), pageSize(in.MaxItems))
	if errors.Is(err, faas.ErrNoFunction) {
		return nil, &apiError{wire: wireNotFound, message: "The function doesn't exist."}
	}
	if err != nil {
		return nil, err
	}
	out := &listEventConfigsOutput{FunctionEventInvokeConfigs: make([]*eventInvokeConfig, 0, len(page.Items)), NextMarker: page.Next}
	for _, config := range page.Items {
		out.FunctionEventInvokeConfigs = append(out.FunctionEventInvokeConfigs, describeEventConfig(id, config))
	}
	return out, nil
}
