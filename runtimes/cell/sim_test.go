package cell

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"hearth/internal/seeds"
)

// Thousands of claims with deaths, failing and slow boots, pressure, machines without
// room, deployments and a Close at any moment: no cell is claimed twice, the bounds
// hold at every moment, and nothing is left.
func TestSimulation(t *testing.T) {
	claims := 0
	runs := seeds.Run(t, 15, func(seed uint64) {
		synctest.Test(t, func(t *testing.T) { claims += simulate(t, rand.New(rand.NewPCG(seed, 1))) })
	})
	if claims < runs*20 {
		t.Errorf("only %d cells were claimed in %d runs", claims, runs)
	}
}

func simulate(t *testing.T, r *rand.Rand) (claims int) {
	w := &world{bootTime: time.Duration(1+r.IntN(80)) * time.Millisecond}
	policy := Policy{Floor: r.IntN(4), Most: 1 + r.IntN(8), Total: 1 + r.IntN(12)}
	p := w.pool(policy)
	defer func() {
		p.Close()
		if w.alive != 0 || w.spares != 0 || p.illegal != 0 {
			t.Fatalf("after Close %d bodies, %d rooms, %d illegal moves", w.alive, w.spares, p.illegal)
		}
	}()
	classes := []Class{{Runtime: "a"}, {Runtime: "b", MemoryMB: 128}, {Runtime: "b", MemoryMB: 256}, {Runtime: "c", Egress: "internet"}}
	deployed := map[Class]int{}
	seen := map[*Cell[*body]]bool{}
	for range 400 {
		of := classes[r.IntN(len(classes))]
		switch r.IntN(14) {
		case 0:
			deployed[of]++
			p.Deploy(of, 1)
		case 1:
			if deployed[of] > 0 {
				deployed[of]--
				p.Deploy(of, -1)
			}
		case 2:
			w.set(func(w *world) { w.pressure = r.Float64() })
		case 3:
			w.set(func(w *world) { w.room = r.IntN(12) })
		case 4:
			w.set(func(w *world) {
				if w.bootErr = nil; r.IntN(3) == 0 {
					w.bootErr = errors.New("no")
				}
			})
		case 5:
			p.Yield()
		case 6:
			p.killOne(r)
		case 7:
			wait(time.Duration(r.IntN(120)) * time.Second)
		default:
			for range 1 + r.IntN(4) {
				cell := claim(p, of)
				if cell == nil {
					continue
				}
				if claims++; seen[cell] || cell.of.Class != of {
					t.Fatalf("a cell of %+v was claimed again, or for %+v", cell.of.Class, of)
				}
				seen[cell] = true
				if r.IntN(4) == 0 {
					cell.Discard("failed")
					cell = p.Again(of)
					if cell == nil {
						continue
					}
					if claims++; seen[cell] {
						t.Fatal("a cell was claimed again after another failed")
					}
					seen[cell] = true
				}
				_ = cell.Body().Kill("an instance ended") // the claimer's own
			}
		}
		if r.IntN(3) == 0 {
			wait(time.Duration(r.IntN(200)) * time.Millisecond)
		}
		p.check(t)
	}
	return claims
}

// killOne lets a parked cell die.
func (p *Pool[B]) killOne(r *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return
	}
	if c := p.order[r.IntN(len(p.order))]; len(c.parked) > 0 {
		any(c.parked[r.IntN(len(c.parked))].body).(*body).die()
	}
}

// check looks for what must hold at every moment.
func (p *Pool[B]) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := 0
	for _, c := range p.order {
		n := len(c.parked) + c.booting
		if all += n; n > p.o.Policy.Most {
			t.Fatalf("%d cells of %+v, at most %d", n, c.Class, p.o.Policy.Most)
		}
		for _, cell := range c.parked {
			if cell.state != Parked {
				t.Fatalf("a %v cell among the parked", cell.state)
			}
		}
	}
	if all > p.o.Policy.Total {
		t.Fatalf("%d cells in all, at most %d", all, p.o.Policy.Total)
	}
}
