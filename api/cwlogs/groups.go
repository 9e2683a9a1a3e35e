package cwlogs

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"hearth/faas"
	"hearth/logs"
)

const (
	maxPage       = 50 // groups or streams of one answer
	defaultPrefix = "/aws/lambda/"
)

type groupsInput struct {
	LogGroupNamePrefix  *string `json:"logGroupNamePrefix"`
	LogGroupNamePattern *string `json:"logGroupNamePattern"`
	Limit               *int    `json:"limit"`
	NextToken           *string `json:"nextToken"`
}

type groupOut struct {
	LogGroupName      string `json:"logGroupName"`
	CreationTime      int64  `json:"creationTime"`
	RetentionInDays   int    `json:"retentionInDays,omitempty"`
	MetricFilterCount int    `json:"metricFilterCount"`
	Arn               string `json:"arn"`
	StoredBytes       int64  `json:"storedBytes"`
	LogGroupClass     string `json:"logGroupClass"`
	LogGroupArn       string `json:"logGroupArn"`
}

type groupsOutput struct {
	LogGroups []groupOut `json:"logGroups"`
	NextToken string     `json:"nextToken,omitempty"`
}

func (h *Handler) describeLogGroups(c *call, in *groupsInput) (any, error) {
	if err := c.allow("", ""); err != nil {
		return nil, err
	}
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	limit, err := limitOf(in.Limit, maxPage, maxPage)
	if err != nil {
		return nil, err
	}
	all, err := h.storedGroups(c)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(g groupOut) bool {
		return !strings.HasPrefix(g.LogGroupName, value(in.LogGroupNamePrefix)) ||
			!strings.Contains(strings.ToLower(g.LogGroupName), strings.ToLower(value(in.LogGroupNamePattern)))
	})
	page, next, err := pageOf(all, func(g groupOut) string { return g.LogGroupName }, value(in.NextToken), limit)
	return groupsOutput{page, next}, err
}

type listGroupsOutput struct {
	LogGroups []groupSummary `json:"logGroups"`
	NextToken string         `json:"nextToken,omitempty"`
}

type groupSummary struct {
	LogGroupName  string `json:"logGroupName"`
	LogGroupArn   string `json:"logGroupArn"`
	LogGroupClass string `json:"logGroupClass"`
}

func (h *Handler) listLogGroups(c *call, in *groupsInput) (any, error) {
	in.LogGroupNamePrefix = nil // not a member of this operation
	got, err := h.describeLogGroups(c, in)
	if err != nil {
		return nil, err
	}
	full := got.(groupsOutput)
	out := listGroupsOutput{LogGroups: []groupSummary{}, NextToken: full.NextToken}
	for _, g := range full.LogGroups {
		out.LogGroups = append(out.LogGroups, groupSummary{g.LogGroupName, g.LogGroupArn, g.LogGroupClass})
	}
	return out, nil
}

// storedGroups are the groups with lines, sorted by name.
func (h *Handler) storedGroups(c *call) ([]groupOut, error) {
	stored, err := h.logs.Stored(c.ctx, faas.FunctionID{Scope: c.scope})
	if err != nil {
		return nil, err
	}
	byName := map[string]groupOut{}
	for _, one := range stored {
		name := cmp.Or(h.groups.GroupOf(one.Function), defaultPrefix+one.Function.Name)
		g, seen := byName[name]
		if !seen {
			g = groupOut{LogGroupName: name, LogGroupClass: "STANDARD", Arn: c.arn(name) + ":*", LogGroupArn: c.arn(name),
				RetentionInDays: int(h.retention / (24 * time.Hour)), CreationTime: one.First.UnixMilli()}
		}
		g.CreationTime = min(g.CreationTime, one.First.UnixMilli())
		g.StoredBytes += one.Bytes
		byName[name] = g
	}
	all := make([]groupOut, 0, len(byName))
	for _, g := range byName {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b groupOut) int { return cmp.Compare(a.LogGroupName, b.LogGroupName) })
	return all, nil
}

// groupNamed resolves the two ways to name a group, and checks the right to it.
func (c *call) groupNamed(name, identifier *string, stream string) (string, error) {
	if name != nil && identifier != nil {
		return "", invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	}
	group := value(name)
	if group == "" {
		group = value(identifier)
		if arn, ok := strings.CutPrefix(group, "arn:"); ok {
			parts := strings.SplitN(arn, ":", 6)
			if len(parts) != 6 || parts[4] != "log-group" {
				return "", invalid("The specified logGroupIdentifier is invalid.")
			}
			group = strings.TrimSuffix(parts[5], ":*")
		}
	}
	if group == "" {
		return "", invalid("1 validation error detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	return group, c.allow(group, stream)
}

// functionsOf are the functions with lines in a group: those that log into it now,
// and one that is no more, which logged into the usual group.
func (h *Handler) functionsOf(c *call, group string) ([]faas.FunctionID, error) {
	candidates := h.groups.InGroup(c.scope, group)
	if name, usual := strings.CutPrefix(group, defaultPrefix); usual && name != "" {
		if gone := (faas.FunctionID{Scope: c.scope, Name: name}); h.groups.GroupOf(gone) == "" {
			candidates = append(candidates, gone)
		}
	}
	var ids []faas.FunctionID
	for _, id := range candidates {
		stored, err := h.logs.Stored(c.ctx, id)
		if err != nil {
			return nil, err
		}
		if len(stored) > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, &apiError{"ResourceNotFoundException", "The specified log group does not exist."}
	}
	slices.SortFunc(ids, func(a, b faas.FunctionID) int { return cmp.Compare(a.Name, b.Name) })
	return ids, nil
}

type streamsInput struct {
	LogGroupName        *string `json:"logGroupName"`
	LogGroupIdentifier  *string `json:"logGroupIdentifier"`
	LogStreamNamePrefix *string `json:"logStreamNamePrefix"`
	OrderBy             *string `json:"orderBy"`
	Descending          *bool   `json:"descending"`
	Limit               *int    `json:"limit"`
	NextToken           *string `json:"nextToken"`
}

type streamOut struct {
	LogStreamName       string `json:"logStreamName"`
	CreationTime        int64  `json:"creationTime"`
	FirstEventTimestamp int64  `json:"firstEventTimestamp"`
	LastEventTimestamp  int64  `json:"lastEventTimestamp"`
	LastIngestionTime   int64  `json:"lastIngestionTime"`
	UploadSequenceToken string `json:"uploadSequenceToken"`
	Arn                 string `json:"arn"`
	StoredBytes         int64  `json:"storedBytes"`
}

type streamsOutput struct {
	LogStreams []streamOut `json:"logStreams"`
	NextToken  string      `json:"nextToken,omitempty"`
}

func (h *Handler) describeLogStreams(c *call, in *streamsInput) (any, error) {
	group, err := c.groupNamed(in.LogGroupName, in.LogGroupIdentifier, "")
	if err != nil {
		return nil, err
	}
	order := cmp.Or(value(in.OrderBy), "LogStreamName")
	switch {
	case order != "LogStreamName" && order != "LastEventTime":
		return nil, invalid("1 validation error detected: Value '%s' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]", clip(order))
	case order == "LastEventTime" && in.LogStreamNamePrefix != nil:
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	limit, err := limitOf(in.Limit, maxPage, maxPage)
	if err != nil {
		return nil, err
	}
	streams, err := h.streamsOf(c, group)
	if err != nil {
		return nil, err
	}
	all := []streamOut{}
	for _, s := range streams {
		if strings.HasPrefix(s.name, value(in.LogStreamNamePrefix)) {
			all = append(all, streamOut{LogStreamName: s.name, Arn: c.arn(group) + ":log-stream:" + s.name, UploadSequenceToken: "1",
				CreationTime: s.First.UnixMilli(), FirstEventTimestamp: s.First.UnixMilli(),
				LastEventTimestamp: s.Last.UnixMilli(), LastIngestionTime: s.Last.UnixMilli()})
		}
	}
	key := func(s streamOut) string { return s.LogStreamName }
	if order == "LastEventTime" {
		key = func(s streamOut) string { return sortable(s.LastEventTimestamp) + s.LogStreamName }
	}
	slices.SortFunc(all, func(a, b streamOut) int { return cmp.Compare(key(a), key(b)) })
	if in.Descending != nil && *in.Descending {
		slices.Reverse(all)
	}
	page, next, err := pageOf(all, key, value(in.NextToken), limit)
	return streamsOutput{page, next}, err
}

// stream is one instance of one function.
type stream struct {
	logs.Writer
	function faas.FunctionID
	name     string
}

// streamName is the name that the instance itself was told.
func streamName(w logs.Writer) string {
	return w.First.UTC().Format("2006/01/02/") + "[" + w.Version + "]" + w.Instance
}

func (h *Handler) streamsOf(c *call, group string) ([]stream, error) {
	ids, err := h.functionsOf(c, group)
	if err != nil {
		return nil, err
	}
	var all []stream
	for _, id := range ids {
		writers, err := h.logs.Writers(c.ctx, id)
		if err != nil {
			return nil, err
		}
		for _, w := range writers {
			all = append(all, stream{w, id, streamName(w)})
		}
	}
	return all, nil
}

// instanceOf takes a stream's name apart. Its date is not looked at: where the first
// lines of an instance are gone, it is not known any more.
func instanceOf(name string) (version, instance string, ok bool) {
	_, rest, ok := strings.Cut(name, "/[")
	if !ok {
		return "", "", false
	}
	version, instance, ok = strings.Cut(rest, "]")
	return version, instance, ok && version != "" && instance != ""
}
