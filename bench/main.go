// Command bench runs adit and stock OpenSSH on the same work, one after the other
// again and again, and prints what each took and their ratio. All of it stays on
// loopback. `make bench` runs it; ARGS=-n=5 makes it thorough.
//
// CPU is the client's own, user and system, taken from /proc, so it runs on
// Linux only. MiB/s swing with whatever else the machine does; ratios of one run
// are what to judge by.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// contender is a client under test, with the server that it talks to.
type contender struct {
	name   string
	client []string // command and flags up to the forward
	port   int
}

// figure is one measured value; less says that less is better.
type figure struct {
	row  string
	unit string
	less bool
}

// results are all values of a figure, by contender.
type results struct {
	order []figure
	by    map[figure]map[string][]float64
}

func (r *results) add(f figure, who string, v float64) {
	if r.by[f] == nil {
		r.order = append(r.order, f)
		r.by[f] = map[string][]float64{}
	}
	r.by[f][who] = append(r.by[f][who], v)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// print writes the table: medians, and the ratio of each to the first contender.
func (r *results) print(names []string) {
	fmt.Printf("\n%-46s %-12s", "what", "unit")
	for _, n := range names {
		fmt.Printf(" %14s", n)
	}
	fmt.Printf("   ratio to %s\n", names[0])
	for _, f := range r.order {
		fmt.Printf("%-46s %-12s", f.row, f.unit)
		base := median(r.by[f][names[0]])
		var ratios []string
		for _, n := range names {
			v := r.by[f][n]
			if len(v) == 0 {
				fmt.Printf(" %14s", "-")
				continue
			}
			fmt.Printf(" %14.2f", median(v))
			if n != names[0] && base > 0 {
				ratios = append(ratios, fmt.Sprintf("%s %.2f", n, median(v)/base))
			}
		}
		better := "more is better"
		if f.less {
			better = "less is better"
		}
		fmt.Printf("   %s (%s)\n", strings.Join(ratios, ", "), better)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "xcrypto" {
		if err := xcrypto(os.Args[2:]); err != nil {
			log.Fatal("bench xcrypto: ", err)
		}
		return
	}
	n := flag.Int("n", 3, "alternations")
	size := flag.Int("mib", 512, "MiB moved in a stream")
	only := flag.String("only", "", "rows whose name holds this")
	flag.Parse()
	if err := run(*n, *size<<20, *only); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(n, size int, only string) error {
	e, err := newEnv()
	if err != nil {
		return err
	}
	defer e.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the program
		<-interrupted
		e.close()
		os.Exit(1)
	}()
	r := &results{by: map[figure]map[string][]float64{}}
	contenders := e.contenders()
	for _, w := range works(size) {
		if !strings.Contains(w.name, only) {
			continue
		}
		for i := range n {
			for _, c := range contenders {
				began := time.Now()
				if err := w.run(e, c, r); err != nil {
					fmt.Fprintf(os.Stderr, "bench: %s, %s: %v\n", w.name, c.name, err)
					continue
				}
				fmt.Fprintf(os.Stderr, "%d/%d %s, %s: %.1fs\n", i+1, n, w.name, c.name, time.Since(began).Seconds())
			}
		}
	}
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	r.print(names)
	return nil
}
