package procs

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary holds what a governor decided.
type diary struct {
	mu   sync.Mutex
	text string
}

func (d *diary) write(s string) {
	d.mu.Lock()
	d.text += s
	d.mu.Unlock()
}

func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text
}

func recorder(d *diary) *governor {
	g := &governor{one: func() { d.write("one ") }, all: func() { d.write("all ") }}
	g.start()
	return g
}

// moved is Flow.Moved for g.
func moved(g *governor, f Flow) {
	if g.last.Load() != uint64(f) {
		g.changed(f)
	}
}

func TestOneFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := recorder(&d)
		for range 10_000 {
			moved(g, 1)
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "one " {
			t.Errorf("one flow: %q, want one processor, once", said)
		}
		if g.looking.Load() {
			t.Error("a timer runs, though there was no change for long")
		}
	})
}

func TestSeveralFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := recorder(&d)
		for range 200 {
			moved(g, 1)
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "one " {
			t.Errorf("one flow for 200 ms: %q, want one processor", said)
		}
		for i := range several {
			moved(g, Flow(i+2))
		}
		synctest.Wait()
		if said := d.read(); said != "one all " {
			t.Errorf("several flows at once: %q, want all processors at once", said)
		}
		for i := range 10_000 { // ten seconds, a change each millisecond
			moved(g, Flow(i%2))
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "one all " {
			t.Errorf("two flows: %q, want all processors once", said)
		}
		for range 900 {
			moved(g, 1)
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "one all " {
			t.Errorf("0.9 s with one flow: %q, want all processors still", said)
		}
		<-time.After(300 * time.Millisecond)
		synctest.Wait()
		if said := d.read(); said != "one all one " {
			t.Errorf("more than 1 s with one flow: %q, want one processor again", said)
		}
		if g.looking.Load() {
			t.Error("a timer still runs")
		}
	})
}

// TestFewChanges has a second flow now and then, as a keepalive of a browser is.
func TestFewChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := recorder(&d)
		for i := range 1000 {
			f := Flow(1)
			if i%80 == 0 {
				f = 2
			}
			moved(g, f)
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "one " {
			t.Errorf("another flow every 80 ms: %q, want one processor", said)
		}
	})
}

// TestSeveralFromTheStart has many flows before the first look.
func TestSeveralFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := recorder(&d)
		for i := range 2000 {
			moved(g, Flow(i%3+1))
			<-time.After(time.Millisecond)
		}
		if said := d.read(); said != "" {
			t.Errorf("three flows: %q, want all processors as they were", said)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if said := d.read(); said != "one " {
			t.Errorf("behind three flows: %q, want one processor", said)
		}
	})
}

func TestFlowsDiffer(t *testing.T) {
	if a, b := NewFlow(), NewFlow(); a == b || a == 0 || b == 0 {
		t.Errorf("flows %d and %d", a, b)
	}
}
