//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
)

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

func newResults() *results { return &results{by: map[figure]map[string][]float64{}} }

// more notes a value of which more is better, less one of which less is.
func (r *results) more(row, unit, who string, v float64) { r.add(figure{row, unit, false}, who, v) }
func (r *results) less(row, unit, who string, v float64) { r.add(figure{row, unit, true}, who, v) }

func (r *results) add(f figure, who string, v float64) {
	if r.by[f] == nil {
		r.order = append(r.order, f)
		r.by[f] = map[string][]float64{}
	}
	r.by[f][who] = append(r.by[f][who], v)
}

// quantile returns the value below which a share q of v lies.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// print writes the table: for each contender the median, its ratio to the first
// contender's, and in brackets the spread of the ratios pair by pair.
func (r *results) print(w io.Writer, contenders []contender) {
	base := contenders[0].name
	fmt.Fprintf(w, "\n%-34s %-15s %9s", "what", "unit", base)
	for _, c := range contenders[1:] {
		fmt.Fprintf(w, "  %30s", c.name)
	}
	fmt.Fprintln(w)
	for _, f := range r.order {
		sign := "+"
		if f.less {
			sign = "-"
		}
		fmt.Fprintf(w, "%-34s %-13s %s %9.4g", f.row, f.unit, sign, median(r.by[f][base]))
		for _, c := range contenders[1:] {
			fmt.Fprintf(w, "  %30s", r.cell(f, base, c.name))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "\n+ more is better, - less is better; x is the ratio of the medians to "+base+", [least-most] of the pairs")
}

func (r *results) cell(f figure, base, who string) string {
	v, b := r.by[f][who], r.by[f][base]
	if len(v) == 0 {
		return "."
	}
	s := fmt.Sprintf("%.4g", median(v))
	if median(b) == 0 {
		return s
	}
	var ratios []float64
	for i := range min(len(v), len(b)) {
		if b[i] > 0 {
			ratios = append(ratios, v[i]/b[i])
		}
	}
	s += fmt.Sprintf("  x%.2f", median(v)/median(b))
	if len(ratios) > 1 {
		s += fmt.Sprintf(" [%.2f-%.2f]", slices.Min(ratios), slices.Max(ratios))
	}
	return s
}
