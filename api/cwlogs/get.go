package cwlogs

import (
	"strings"
	"time"

	"hearth/logs"
)

const (
	maxEvents = 10_000
	// maxAnswer bounds the messages of one answer, each with eventCost, in bytes.
	maxAnswer = 1 << 20
	eventCost = 26
)

type getInput struct {
	LogGroupName       *string `json:"logGroupName"`
	LogGroupIdentifier *string `json:"logGroupIdentifier"`
	LogStreamName      *string `json:"logStreamName"`
	StartTime          *int64  `json:"startTime"`
	EndTime            *int64  `json:"endTime"`
	NextToken          *string `json:"nextToken"`
	Limit              *int    `json:"limit"`
	StartFromHead      *bool   `json:"startFromHead"`
}

type eventOut struct {
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
}

type getOutput struct {
	Events            []eventOut `json:"events"`
	NextForwardToken  string     `json:"nextForwardToken"`
	NextBackwardToken string     `json:"nextBackwardToken"`
}

// The tokens of GetLogEvents begin with the direction in which they lead.
const (
	forward  = "f/"
	backward = "b/"
)

func (h *Handler) getLogEvents(c *call, in *getInput) (any, error) {
	name := value(in.LogStreamName)
	group, err := c.groupNamed(in.LogGroupName, in.LogGroupIdentifier, name)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(in.Limit, maxEvents, maxEvents)
	if err != nil {
		return nil, err
	}
	s, err := h.streamNamed(c, group, name)
	if err != nil {
		return nil, err
	}
	base := logs.Query{Function: s.function, Version: s.Version, Instance: s.Instance, Since: millis(in.StartTime), Until: millis(in.EndTime)}
	token := value(in.NextToken)
	switch {
	case strings.HasPrefix(token, forward):
		return h.getForward(c, base, token, limit)
	case strings.HasPrefix(token, backward):
		return h.getBackward(c, base, token, limit)
	case token != "":
		return nil, invalidToken()
	case value(in.StartFromHead):
		return h.getForward(c, base, forward+position{}.String(), limit)
	}
	// The last ones: those before all that is to come.
	return h.getBackward(c, base, backward+position{at: farFuture}.String(), limit)
}

// farFuture is after every line, and can be a time still.
const farFuture = 1<<63 - 1 - int64(time.Second)

// streamNamed finds a stream of a group.
func (h *Handler) streamNamed(c *call, group, name string) (stream, error) {
	ids, err := h.functionsOf(c, group)
	if err != nil {
		return stream{}, err
	}
	version, instance, ok := instanceOf(name)
	for _, id := range ids {
		if !ok {
			break
		}
		lines, err := h.logs.Find(c.ctx, logs.Query{Function: id, Version: version, Instance: instance, Limit: 1})
		if err != nil {
			return stream{}, err
		}
		if len(lines) > 0 {
			return stream{logs.Writer{Version: version, Instance: instance}, id, name}, nil
		}
	}
	return stream{}, &apiError{"ResourceNotFoundException", "The specified log stream does not exist."}
}

// getForward answers with the lines behind a position.
func (h *Handler) getForward(c *call, q logs.Query, token string, limit int) (any, error) {
	from, err := parsePosition(token[len(forward):])
	if err != nil {
		return nil, err
	}
	if start := q.Since; from.at >= nanos(start) {
		q.Since, q.Skip = from.time(), from.skip
	}
	q.Limit = limit
	lines, err := h.logs.Find(c.ctx, q)
	if err != nil {
		return nil, err
	}
	lines = cutAnswer(lines)
	if len(lines) == 0 {
		return getOutput{Events: []eventOut{}, NextForwardToken: token, NextBackwardToken: backward + from.String()}, nil
	}
	first := position{lines[0].Time.UnixNano(), 0}
	if first.at == nanos(q.Since) {
		first.skip = q.Skip
	}
	return getOutput{eventsOf(lines), forward + after(lines, first).String(), backward + first.String()}, nil
}

// getBackward answers with the last lines before a position.
func (h *Handler) getBackward(c *call, q logs.Query, token string, limit int) (any, error) {
	to, err := parsePosition(token[len(backward):])
	if err != nil {
		return nil, err
	}
	beyond := 0 // lines of the position's instant that are behind it
	if to.at < farFuture {
		same, err := h.linesAt(c, q, to.at)
		if err != nil {
			return nil, err
		}
		if same > to.skip {
			beyond = same - to.skip
		}
		if until := to.time().Add(1); q.Until.IsZero() || until.Before(q.Until) {
			q.Until = until
		} else if !q.Until.After(to.time()) {
			beyond = 0 // the query ends before that instant
		}
	}
	q.Tail = limit + beyond
	lines, err := h.logs.Find(c.ctx, q)
	if err != nil {
		return nil, err
	}
	lines = lines[:max(0, len(lines)-beyond)]
	lines = cutFront(lines)
	if len(lines) == 0 {
		if to.at == farFuture { // nothing there: go on with what comes
			to = position{at: h.now().UnixNano()}
		}
		return getOutput{Events: []eventOut{}, NextForwardToken: forward + to.String(), NextBackwardToken: token}, nil
	}
	first, err := h.positionOf(c, q, lines, to)
	if err != nil {
		return nil, err
	}
	return getOutput{eventsOf(lines), forward + after(lines, first).String(), backward + first.String()}, nil
}

// linesAt counts the lines of one instant.
func (h *Handler) linesAt(c *call, q logs.Query, at int64) (int, error) {
	q.Since, q.Until, q.Skip, q.Tail, q.Limit = time.Unix(0, at), time.Unix(0, at+1), 0, 0, 0
	n := 0
	for {
		q.Skip = n
		lines, err := h.logs.Find(c.ctx, q)
		if n += len(lines); err != nil || len(lines) < maxEvents {
			return n, err
		}
	}
}

// positionOf is the position in front of the first of some lines, the last ones
// before another position.
func (h *Handler) positionOf(c *call, q logs.Query, lines []logs.Line, to position) (position, error) {
	at := lines[0].Time.UnixNano()
	mine := 0
	for mine < len(lines) && lines[mine].Time.UnixNano() == at {
		mine++
	}
	all := to.skip
	if at != to.at {
		var err error
		if all, err = h.linesAt(c, q, at); err != nil {
			return position{}, err
		}
	}
	return position{at, max(0, all-mine)}, nil
}

// after is the position behind lines that begin at another one.
func after(lines []logs.Line, first position) position {
	last := position{at: lines[len(lines)-1].Time.UnixNano()}
	for i := len(lines) - 1; i >= 0 && lines[i].Time.UnixNano() == last.at; i-- {
		last.skip++
	}
	if last.at == first.at {
		last.skip += first.skip
	}
	return last
}

// cutAnswer keeps the first lines that fit into an answer, one at least.
func cutAnswer(lines []logs.Line) []logs.Line {
	size := 0
	for i, line := range lines {
		if size += len(line.Text) + eventCost; size > maxAnswer && i > 0 {
			return lines[:i]
		}
	}
	return lines
}

// cutFront keeps the last ones that fit.
func cutFront(lines []logs.Line) []logs.Line {
	size := 0
	for i := len(lines) - 1; i >= 0; i-- {
		if size += len(lines[i].Text) + eventCost; size > maxAnswer && i < len(lines)-1 {
			return lines[i+1:]
		}
	}
	return lines
}

func eventsOf(lines []logs.Line) []eventOut {
	events := make([]eventOut, len(lines))
	for i, line := range lines {
		at := line.Time.UnixMilli()
		events[i] = eventOut{at, message(line), at}
	}
	return events
}

// message is a line as a client sees it. Lambda's own lines end with a line feed
// there, which tools that print messages rely on.
func message(line logs.Line) string { return line.Text + "\n" }

// millis is a time as the API has it; zero where it is absent.
func millis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	// Beyond what a time can hold in nanoseconds there are no lines.
	const most = (1<<63 - 1) / int64(time.Millisecond)
	return time.UnixMilli(min(max(*ms, 0), most-1))
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
