package faas

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSourceKindOf(t *testing.T) {
	for arn, want := range map[string]SourceKind{
		"arn:aws:sqs:us-east-1:123456789012:q":                                    SourceQueue,
		"arn:aws:kinesis:us-east-1:123456789012:stream/s":                         SourceKinesis,
		"arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1":            SourceKinesis,
		"arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00": SourceDynamoDB,
		"arn:aws:dynamodb:us-east-1:123456789012:table/t":                         "",
		"arn:aws:kafka:us-east-1:123456789012:cluster/c/0a":                       SourceMSK,
		"arn:aws:mq:us-east-1:123456789012:broker:b:b-0a":                         SourceMQ,
		"arn:aws:rds:us-east-1:123456789012:cluster:docs":                         SourceDocumentDB,
		"arn:aws:sns:us-east-1:123456789012:t":                                    "",
		"sqs:q":                                                                   "", "": "", "arn:aws:sqs:us-east-1:123456789012:": "",
	} {
		if got := SourceKindOf(arn); got != want {
			t.Errorf("%s is a %q, want %q", arn, got, want)
		}
	}
}

func TestSettingRulesAreComplete(t *testing.T) {
	fields := reflect.TypeFor[MappingSettings]()
	for i := range fields.NumField() {
		if rule, ok := settingRules[fields.Field(i).Name]; !ok || rule.name == "" || len(rule.kinds) == 0 {
			t.Errorf("%s has no rule", fields.Field(i).Name)
		}
	}
	if len(settingRules) != fields.NumField() {
		t.Errorf("%d rules for %d fields", len(settingRules), fields.NumField())
	}
	// The defaults of a kind are settings that it has.
	for _, kind := range allSources {
		s := MappingSettings{}.WithDefaults(kind, "0a")
		s.Access = []AccessRef{{Type: "BASIC_AUTH", URI: "u"}}
		s.Documents = &Documents{Database: "d"}
		if kind == SourceQueue || kind.Stream() {
			s.Access = nil
		}
		if kind != SourceDocumentDB {
			s.Documents = nil
		}
		if err := s.Validate(MappingSource{Kind: kind, ARN: "a"}); err != nil {
			t.Errorf("defaults of %s: %v", kind, err)
		}
	}
}

func TestMappingSettingsOver(t *testing.T) {
	ten, five, no := 10, 5, false
	old := MappingSettings{BatchSize: &ten, Filters: []string{"{}"}, Bisect: &no}
	got := MappingSettings{BatchSize: &five, Filters: []string{}}.Over(old)
	if *got.BatchSize != 5 || len(got.Filters) != 0 || got.Bisect == nil || *old.BatchSize != 10 {
		t.Errorf("over: %+v", got)
	}
}

func TestMappingValidate(t *testing.T) {
	n := func(i int) *int { return &i }
	text := func(s string) *string { return &s }
	yes := true
	now, old := time.Unix(1e9, 0), time.Unix(-1, 0)
	const (
		queue  = "arn:aws:sqs:us-east-1:123456789012:q"
		stream = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
		table  = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/1"
		msk    = "arn:aws:kafka:us-east-1:123456789012:cluster/c/0a"
		broker = "arn:aws:mq:us-east-1:123456789012:broker:b:b-0a"
		docs   = "arn:aws:rds:us-east-1:123456789012:cluster:docs"
	)
	basic := []AccessRef{{Type: "BASIC_AUTH", URI: "u"}}
	for _, c := range []struct {
		name     string
		source   MappingSource
		settings MappingSettings
		want     string // a part of the error; "" is none
	}{
		{"queue", MappingSource{ARN: queue}, MappingSettings{}, ""},
		{"nothing", MappingSource{}, MappingSettings{}, "Unrecognized event source."},
		{"queue with position", MappingSource{ARN: queue, Position: PositionLatest}, MappingSettings{}, "StartingPosition is not valid for SQS event sources."},
		{"queue, 11", MappingSource{ARN: queue}, MappingSettings{BatchSize: n(11)}, "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"},
		{"queue, 11 in 1 s", MappingSource{ARN: queue}, MappingSettings{BatchSize: n(11), WindowSeconds: n(1)}, ""},
		{"fifo, 11", MappingSource{ARN: queue + ".fifo"}, MappingSettings{BatchSize: n(11), WindowSeconds: n(1)}, "between 1 and 10 inclusive"},
		{"fifo, window", MappingSource{ARN: queue + ".fifo"}, MappingSettings{WindowSeconds: n(1)}, "Unsupported 'maximumBatchingWindowInSeconds' parameter"},
		{"queue, bisect", MappingSource{ARN: queue}, MappingSettings{Bisect: &yes}, "Unsupported 'bisectBatchOnFunctionError' parameter for given event source mapping type."},
		{"queue, destination", MappingSource{ARN: queue}, MappingSettings{OnFailure: text(queue)}, "Unsupported DestinationConfig parameter for given event source mapping type."},
		{"queue, topics", MappingSource{ARN: queue, Topics: []string{"t"}}, MappingSettings{}, "Unsupported 'topics' parameter"},
		{"queue, filter", MappingSource{ARN: queue}, MappingSettings{Filters: []string{`{"a":["b"]}`}}, ""},
		{"queue, no filter", MappingSource{ARN: queue}, MappingSettings{Filters: []string{`{"a":"b"}`}}, "Invalid filter pattern definition."},
		{"pollers", MappingSource{ARN: queue}, MappingSettings{Pollers: &Pollers{Min: n(3), Max: n(2)}}, "MinimumPollers (3) must not be greater than MaximumPollers (2)"},
		{"stream without position", MappingSource{ARN: stream}, MappingSettings{}, "Value null at 'startingPosition'"},
		{"stream", MappingSource{ARN: stream, Position: PositionAtTimestamp, PositionTime: &now}, MappingSettings{Parallel: n(10), MaxAgeSeconds: n(60), OnFailure: text(queue)}, ""},
		{"stream, no time", MappingSource{ARN: stream, Position: PositionAtTimestamp}, MappingSettings{}, "requires StartingPositionTimestamp"},
		{"stream, time", MappingSource{ARN: stream, Position: PositionLatest, PositionTime: &now}, MappingSettings{}, "Timestamp only valid with StartingPosition AT_TIMESTAMP"},
		{"stream, before 1970", MappingSource{ARN: stream, Position: PositionAtTimestamp, PositionTime: &old}, MappingSettings{}, "class java.lang.Long can not be converted to a Timestamp"},
		{"stream, young", MappingSource{ARN: stream, Position: PositionLatest}, MappingSettings{MaxAgeSeconds: n(59)}, "-1 or between 60 and 604800"},
		{"stream, function", MappingSource{ARN: stream, Position: PositionLatest}, MappingSettings{OnFailure: text("arn:aws:lambda:us-east-1:123456789012:function:f")}, "is invalid"},
		{"stream, scaling", MappingSource{ARN: stream, Position: PositionLatest}, MappingSettings{MaxConcurrency: n(2)}, "'scalingConfig'"},
		{"table, time", MappingSource{ARN: table, Position: PositionAtTimestamp, PositionTime: &now}, MappingSettings{}, "Unsupported starting position for arn type: " + table},
		{"msk without topics", MappingSource{ARN: msk, Position: PositionLatest}, MappingSettings{}, "Required 'topics' parameter is missing."},
		{"msk", MappingSource{ARN: msk, Position: PositionLatest, Topics: []string{"t"}}, MappingSettings{OnFailure: text("kafka://t")}, ""},
		{"kafka without access", MappingSource{Kind: SourceKafka, Endpoints: []string{"h:1"}, Position: PositionLatest, Topics: []string{"t"}}, MappingSettings{}, "Required 'sourceAccessConfigurations' parameter is missing."},
		{"broker without queues", MappingSource{ARN: broker}, MappingSettings{Access: basic}, "Required 'queues' parameter is missing."},
		{"broker", MappingSource{ARN: broker, Queues: []string{"q"}}, MappingSettings{Access: basic}, ""},
		{"broker, subnet", MappingSource{ARN: broker, Queues: []string{"q"}}, MappingSettings{Access: []AccessRef{{Type: "VPC_SUBNET"}}}, "Unsupported source access configuration type VPC_SUBNET"},
		{"documents without database", MappingSource{ARN: docs, Position: PositionLatest}, MappingSettings{Access: basic}, "databaseName"},
		{"documents", MappingSource{ARN: docs, Position: PositionLatest}, MappingSettings{Access: basic, Documents: &Documents{Database: "d"}}, ""},
	} {
		if c.source.Kind == "" {
			c.source.Kind = SourceKindOf(c.source.ARN)
		}
		m := EventSourceMapping{Source: c.source, Settings: c.settings}
		err := m.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!IsCode(err, CodeInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestValidEventPattern(t *testing.T) {
	for pattern, want := range map[string]bool{
		`{}`: true, `{"a":["x",1,null,true]}`: true, `{"body":{"n":[{"numeric":[">",0]}]}}`: true,
		`{"a":[{"prefix":"x"},{"exists":false}]}`: true, `{"$or":[{"a":["x"]},{"b":{"c":[1]}}]}`: true,
		``: false, `[]`: false, `"x"`: false, `{"a":"x"}`: false, `{"a":[]}`: false, `{"a":{}}`: false, `{"a":1}`: false,
		`{"a":[{"like":"x"}]}`: false, `{"a":[{}]}`: false, `{"a":[["x"]]}`: false, `{"a":["x"]} x`: false, `{"$or":[{"a":"x"}]}`: false,
		strings.Repeat(`{"a":`, 200) + `["x"]` + strings.Repeat("}", 200): false,
	} {
		if ValidEventPattern([]byte(pattern)) != want {
			t.Errorf("%.60s is a pattern: %v", pattern, !want)
		}
	}
}

func FuzzValidEventPattern(f *testing.F) {
	f.Add([]byte(`{"a":[{"prefix":"x"}],"$or":[{"b":["c"]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ValidEventPattern(text) && text[len(text)-1] == '[' {
			t.Errorf("%q is no JSON", text)
		}
	})
}
