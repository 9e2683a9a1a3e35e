package keepalive

import "math"

// forecast returns the next value of a series by the autoregressive integrated
// model, of order (p, d, 0) with p ≤ 2 and d ≤ 1, whose fit has the least Akaike
// criterion. Moving averages are left out: conditional least squares has no
// closed form for them. A negative forecast is 0.
func forecast(series []float64) float64 {
	best, next := math.Inf(1), mean(series)
	for d := range 2 {
		x := series
		if d == 1 {
			x = differences(series)
		}
		for p := range 3 {
			if len(x) < 2*p+3 {
				continue
			}
			coefficients, errors := regress(x, p)
			n := float64(len(x) - p)
			criterion := n*math.Log(errors/n+1e-9) + 2*float64(p+1)
			if criterion >= best {
				continue
			}
			best = criterion
			next = coefficients[0]
			for lag := 1; lag <= p; lag++ {
				next += coefficients[lag] * x[len(x)-lag]
			}
			if d == 1 {
				next += series[len(series)-1]
			}
		}
	}
	return max(0, next)
}

// regress fits x[t] = c0 + c1·x[t-1] + … by least squares and returns the sum of
// the squared errors.
func regress(x []float64, p int) (c [3]float64, squares float64) {
	var a [3][4]float64
	row := func(t int) [3]float64 {
		r := [3]float64{1}
		for lag := 1; lag <= p; lag++ {
			r[lag] = x[t-lag]
		}
		return r
	}
	for t := p; t < len(x); t++ {
		r := row(t)
		for i := 0; i <= p; i++ {
			for j := 0; j <= p; j++ {
				a[i][j] += r[i] * r[j]
			}
			a[i][3] += r[i] * x[t]
		}
	}
	c = solve(a, p+1)
	for t := p; t < len(x); t++ {
		r := row(t)
		e := x[t] - c[0]*r[0] - c[1]*r[1] - c[2]*r[2]
		squares += e * e
	}
	return c, squares
}

// solve eliminates; a singular column gets 0.
func solve(a [3][4]float64, n int) (c [3]float64) {
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i][k]) > math.Abs(a[pivot][k]) {
				pivot = i
			}
		}
		a[k], a[pivot] = a[pivot], a[k]
		if math.Abs(a[k][k]) < 1e-12 {
			continue
		}
		for i := range n {
			if i == k {
				continue
			}
			f := a[i][k] / a[k][k]
			for j := k; j < 4; j++ {
				a[i][j] -= f * a[k][j]
			}
		}
	}
	for k := range n {
		if math.Abs(a[k][k]) >= 1e-12 {
			c[k] = a[k][3] / a[k][k]
		}
	}
	return c
}

func mean(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func differences(x []float64) []float64 {
	var d []float64
	for i := 1; i < len(x); i++ {
		d = append(d, x[i]-x[i-1])
	}
	return d
}
