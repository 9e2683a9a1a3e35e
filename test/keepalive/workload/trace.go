package workload

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed testdata/azure2019.csv.gz
var azure2019 []byte

// Azure2019 returns the real trace: eight hours of 252 functions of the Azure
// Functions trace 2019 (testdata/README.md says whose it is). The trace counts by
// the minute: where in the minute a call comes is drawn, and so are cold starts,
// which it has not. Timers keep their second.
func Azure2019(seed uint64) (*Load, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(azure2019))
	if err != nil {
		return nil, fmt.Errorf("workload: the embedded trace: %w", err)
	}
	return readTrace(unzipped, seed, 8*time.Hour)
}

// readTrace reads a trace as testdata/README.md describes it.
func readTrace(from io.Reader, seed uint64, span time.Duration) (*Load, error) {
	reader := csv.NewReader(from)
	reader.FieldsPerRecord = 7
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("workload: a trace: %w", err)
	}
	l := &Load{Params: Params{Seed: seed}, Span: span}
	for n, row := range rows {
		if n == 0 {
			continue
		}
		if err := l.addRow(row, seed); err != nil {
			return nil, fmt.Errorf("workload: line %d of a trace: %w", n+1, err)
		}
	}
	for i := range l.Apps {
		a := &l.Apps[i]
		slices.SortFunc(a.Calls, func(x, y Call) int { return cmp.Compare(x.At, y.At) })
		r := stream(seed, a.ID, forApp)
		a.Cold = seconds(min(maxCold, max(minCold, math.Exp(coldMu+coldSigma*r.NormFloat64()))))
		a.PeakMB = a.MemoryMB
		a.Rate = float64(len(a.Calls)) / span.Hours() * 24
	}
	return l, nil
}

// addRow adds one function.
func (l *Load) addRow(row []string, seed uint64) error {
	var numbers [5]float64
	for i, column := range []int{0, 2, 3, 4, 5} {
		v, err := strconv.ParseFloat(row[column], 64)
		if err != nil || !(v >= 0 && v <= 1e9) {
			return fmt.Errorf("%q is no number from 0 to 1e9", row[column])
		}
		numbers[i] = v
	}
	id := int(numbers[0])
	if n := len(l.Apps); n == 0 || l.Apps[n-1].ID != id {
		l.Apps = append(l.Apps, App{ID: id})
	}
	a := &l.Apps[len(l.Apps)-1]
	median, spread := max(1, numbers[2])/1e3, 0.0
	if numbers[1] > 0 && numbers[3] > 0 {
		spread = math.Log(numbers[3]/numbers[1]) / 1.349 // between the quartiles of a normal
	}
	t := slices.Index(triggerNames[:], strings.ToLower(row[1]))
	if strings.EqualFold(row[1], "http") {
		t = int(HTTP)
	}
	a.Functions = append(a.Functions, Function{Trigger: Trigger(max(0, t)), Mean: median * math.Exp(spread*spread/2), Sigma: spread})
	a.MemoryMB += numbers[4]
	return a.addMinutes(strings.Fields(row[6]), stream(seed, id<<8+len(a.Functions), forArrivals), l.Span)
}

// addMinutes adds the calls of the last function, given as minute:calls.
func (a *App) addMinutes(counts []string, r *rand.Rand, span time.Duration) error {
	index := len(a.Functions) - 1
	f := a.Functions[index]
	second := time.Duration(r.Float64() * float64(50*time.Second))
	for _, count := range counts {
		before, after, _ := strings.Cut(count, ":")
		minute, err := strconv.Atoi(before)
		if err != nil || minute < 0 || time.Duration(minute)*time.Minute >= span {
			return fmt.Errorf("%q is not minute:calls within %v", count, span)
		}
		n, err := strconv.Atoi(after)
		if err != nil || n < 1 || n > 1e7 {
			return fmt.Errorf("%q is not minute:calls with 1 to 10,000,000 calls", count)
		}
		for k := range n {
			within := time.Duration(r.Float64() * float64(time.Minute))
			if f.Trigger == Timer {
				within = (second + time.Minute*time.Duration(k)/time.Duration(n) + time.Duration(r.Float64()*float64(time.Second))) % time.Minute
			}
			took := min(maxDuration, f.Mean*math.Exp(f.Sigma*r.NormFloat64()-f.Sigma*f.Sigma/2))
			a.Calls = append(a.Calls, Call{At: time.Duration(minute)*time.Minute + within, Took: int32(1e6 * max(.001, took)), Function: uint16(index)})
		}
	}
	return nil
}
