package workload

import (
	"math"
	"math/rand/v2"
	"time"
)

// Params say what to generate. The same Params give the same load.
type Params struct {
	Seed uint64  `json:"seed"`
	Apps int     `json:"apps"`
	Days int     `json:"days"`
	Top  float64 `json:"top"`  // the largest share of all calls that one app may have
	Thin float64 `json:"thin"` // calls per day above which an app is thinned, its shape kept
	// Assumptions of ours that no publication gives; each is varied by itself.
	Dominant float64 `json:"dominant"` // share of an app's calls that its first function has
	Aligned  float64 `json:"aligned"`  // share of timers that fire at whole minutes
	CV       CV      `json:"cv"`
	// Variations of the published load.
	ConstantMemory bool          `json:"constantMemory"` // every app has the median memory
	ColdScale      float64       `json:"coldScale"`      // cold starts take so many times the published time
	Tide           float64       `json:"tide"`           // the day's amplitude is so many times the published one
	Timers         float64       `json:"timers"`         // share of other apps that get a timer added
	Shift          time.Duration `json:"shift"`          // when every app's calls become another app's; 0 for never
}

// CV says how the spread of an app's gaps is drawn.
type CV string

const (
	// TiedCV ties it to the rate: rare apps are bursty. Only so does the cold rate
	// of fixed keep-alive come out as published.
	TiedCV        CV = "tied"
	IndependentCV CV = "independent" // no tie to the rate
	LogNormalCV   CV = "log-normal"  // no tie, and log-normal gaps instead of clusters
)

// Published returns the parameters of the load fitted to the published numbers.
func Published(seed uint64, apps, days int) Params {
	return Params{Seed: seed, Apps: apps, Days: days, Top: .10, Thin: 2880,
		Dominant: .7, Aligned: .5, CV: TiedCV, ColdScale: 1, Tide: 1}
}

// The purposes for which an app has random streams of its own, so that a change
// in one draw moves no other.
const (
	forPlan uint64 = iota
	forApp
	forFunctions
	forTimers
	forArrivals
	forCalls
	forTide
	forFleet
)

// stream returns the random stream of (seed, app, purpose).
func stream(seed uint64, app int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed^mix(purpose+1)), mix(uint64(app)+0x9e3779b97f4a7c15)))
}

// mix is splitmix64's finaliser.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// normalQuantile is the inverse of the standard normal distribution function.
func normalQuantile(u float64) float64 { return math.Sqrt2 * math.Erfinv(2*u-1) }

// normalCDF is the standard normal distribution function.
func normalCDF(z float64) float64 { return .5 * math.Erfc(-z/math.Sqrt2) }

// gamma draws from the gamma distribution of this shape and mean 1 (Marsaglia
// and Tsang; shape below 1 by the usual power).
func gamma(r *rand.Rand, shape float64) float64 {
	boost := 1.0
	k := shape
	if k < 1 {
		boost = math.Pow(r.Float64(), 1/k)
		k++
	}
	d := k - 1./3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-r.Float64()) < .5*x*x+d-d*v+d*math.Log(v) {
			return d * v * boost / shape
		}
	}
}

// geometric draws a size of at least 1 with this mean.
func geometric(r *rand.Rand, mean float64) int {
	if mean <= 1 {
		return 1
	}
	return 1 + int(math.Log(1-r.Float64())/math.Log(1-1/mean))
}
