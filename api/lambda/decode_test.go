package lambda

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{`, "InvalidRequestContentException: Could not parse request body into json: unexpected end of JSON input"},
		{`{"Timeout":3}x`, "InvalidRequestContentException: Could not parse request body into json: invalid character 'x' after top-level value"},
		{`[]`, "SerializationException: Start of list found where not expected"},
		{`"x"`, "SerializationException: Unexpected field type"},
		{`{"Timeout":"3"}`, "SerializationException: STRING_VALUE can not be converted to an Integer"},
		{`{"Timeout":true}`, "SerializationException: TRUE_VALUE can not be converted to an Integer"},
		{`{"Timeout":1.5}`, "SerializationException: NUMBER_VALUE can not be converted to an Integer"},
		{`{"Timeout":[3]}`, "SerializationException: Start of list found where not expected"},
		{`{"Timeout":{}}`, "SerializationException: Start of structure or map found where not expected."},
		{`{"Description":3}`, "SerializationException: NUMBER_VALUE can not be converted to a String"},
		{`{"Description":false}`, "SerializationException: FALSE_VALUE can not be converted to a String"},
		{`{"Publish":"true"}`, "SerializationException: STRING_VALUE can not be converted to a Boolean"},
		{`{"Code":{"ZipFile":7}}`, "SerializationException: NUMBER_VALUE can not be converted to a Blob"},
		{`{"Code":{"ZipFile":"*"}}`, "SerializationException: A blob of the request is not base64: illegal base64 data at input byte 0"},
		{`{"Code":"x"}`, "SerializationException: Unexpected field type"},
		{`{"Architectures":{}}`, "SerializationException: Start of structure or map found where not expected."},
		{`{"Architectures":"x86_64"}`, "SerializationException: Unexpected field type"},
		{`{"Environment":{"Variables":[]}}`, "SerializationException: Start of list found where not expected"},
		{`{"Tags":{"a":1}}`, "SerializationException: NUMBER_VALUE can not be converted to a String"},
		{`{"VpcConfig":{"SubnetIds":[1]}}`, "SerializationException: NUMBER_VALUE can not be converted to a String"}, // kept as it is, and looked into
	} {
		err := decodeBody([]byte(c.body), shapeCreateFunctionRequest, new(createFunctionInput))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.body, err, c.want)
		}
	}
}

func TestDecode(t *testing.T) {
	var in createFunctionInput
	body := ` {"Timeout": 3e0 , "timeout":"no member", "Unknown":{"a":["]}"]},"Description":"\u00fc\"}","Publish":true,"Runtime":null,
		"Code":{"ZipFile":"AQI\/"}, "Layers":[ "a" ,"b"],"Environment":{"Variables":{"A":"1"}},"Tags":{},"Architectures":[]}`
	if err := decodeBody([]byte(body), shapeCreateFunctionRequest, &in); err != nil {
		t.Fatal(err)
	}
	if *in.Timeout != 3 || *in.Description != `ü"}` || !*in.Publish || in.Runtime != nil || !reflect.DeepEqual(in.Code.ZipFile, []byte{1, 2, 63}) ||
		!reflect.DeepEqual(in.Layers, []string{"a", "b"}) || in.Environment.Variables["A"] != "1" || in.Tags == nil || in.Architectures == nil || in.Handler != nil {
		t.Errorf("decoded to %+v", in)
	}
}

// The path of what is wrong goes through lists, maps and structures, whether the
// input takes them apart or keeps them as they are.
func TestValidateNested(t *testing.T) {
	type kept struct{ SelfManagedEventSource, SourceAccessConfigurations, MetricsConfig, FunctionName json.RawMessage }
	for _, c := range []struct{ body, want string }{
		{`{"SourceAccessConfigurations":[{"Type":"BASIC_AUTH"},{"Type":"x","URI":""}]}`,
			"2 validation errors detected: Value 'x' at 'sourceAccessConfigurations.2.member.type' failed to satisfy constraint: Member must satisfy enum value set: " +
				"[BASIC_AUTH, VPC_SUBNET, VPC_SECURITY_GROUP, SASL_SCRAM_512_AUTH, SASL_SCRAM_256_AUTH, VIRTUAL_HOST, CLIENT_CERTIFICATE_TLS_AUTH, SERVER_ROOT_CA_CERTIFICATE]; " +
				"Value '' at 'sourceAccessConfigurations.2.member.uRI' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{`{"SelfManagedEventSource":{"Endpoints":{"KAFKA":["a:1"]}}}`,
			"1 validation error detected: Value '{KAFKA=[a:1]}' at 'selfManagedEventSource.endpoints' failed to satisfy constraint: " +
				"Map keys must satisfy constraint: [Member must satisfy enum value set: [KAFKA_BOOTSTRAP_SERVERS], Member must not be null]"},
		{`{"SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":[]}}}`,
			"1 validation error detected: Value '[]' at 'selfManagedEventSource.endpoints.KAFKA_BOOTSTRAP_SERVERS.member' failed to satisfy constraint: " +
				"Member must have length greater than or equal to 1"},
		{`{"SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":null}}}`,
			"1 validation error detected: Value '{KAFKA_BOOTSTRAP_SERVERS=null}' at 'selfManagedEventSource.endpoints' failed to satisfy constraint: " +
				"Map value must satisfy constraint: [Member must have length less than or equal to 10, Member must have length greater than or equal to 1, Member must not be null]"},
		{`{"MetricsConfig":{"Metrics":[null]}}`,
			"1 validation error detected: Value '[null]' at 'metricsConfig.metrics' failed to satisfy constraint: " +
				"Member must satisfy constraint: [Member must satisfy enum value set: [EventCount, ErrorCount, KafkaMetrics], Member must not be null]"},
	} {
		body := []byte(strings.Replace(c.body, "{", `{"FunctionName":"f",`, 1))
		whole := reflect.New(goType(shapeCreateEventSourceMappingRequest).Elem()).Interface()
		for _, in := range []any{whole, new(kept)} {
			if err := decodeBody(body, shapeCreateEventSourceMappingRequest, in); err != nil {
				t.Fatalf("%s: %v", c.body, err)
			}
			if err := validate(in, shapeCreateEventSourceMappingRequest); err == nil || err.Error() != "ValidationException: "+c.want {
				t.Errorf("%s in %T:\n got %v\nwant %s", c.body, in, err, c.want)
			}
		}
	}
}
