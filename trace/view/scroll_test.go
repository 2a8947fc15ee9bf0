package view

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkScroll scrolls a page of 10,000 messages that do not fold, and a run of
// 10,000 that is open, in a browser: 200 pictures in each, 100 pixels a picture. It
// reports how long pictures took: at 60 a second, 16.7 ms is smooth.
func BenchmarkScroll(b *testing.B) {
	var page bytes.Buffer
	if err := NewLadder(header(), many(10_000)).WriteHTML(&page, nil); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "ladder.html")
	if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	if name := os.Getenv("ADIT_PAGE"); name != "" { // another one, to compare with
		file = name
	}
	for b.Loop() {
		said := asked(b, file, 1280, 900, `
			const loaded = performance.getEntriesByType("navigation")[0].domComplete;
			let tasks = 0;
			new PerformanceObserver((list) => { for (const t of list.getEntries()) tasks = Math.max(tasks, t.duration); }).observe({ entryTypes: ["longtask"] });
			await frames(10);
			const run = Array.from(document.querySelectorAll(".run")).at(-1);
			const began = performance.now();
			run.open = true;
			await frames(2);
			const opened = performance.now() - began;
			const took = [];
			let last = performance.now();
			for (let i = 0; i < 400; i++) {
				if (i === 200) run.scrollIntoView();
				scrollBy(0, 100);
				await frames(1);
				const now = performance.now();
				took.push(now - last);
				last = now;
			}
			took.sort((a, b) => a - b);
			const at = (p) => took[Math.floor(p * (took.length - 1))].toFixed(1);
			say([loaded.toFixed(0), opened.toFixed(0), at(0.5), at(0.95), at(0.99), at(1), tasks.toFixed(0), took.filter((t) => t > 34).length].join(" "));`)
		names := []string{"ms-load", "ms-open", "ms-p50", "ms-p95", "ms-p99", "ms-max", "ms-longtask", "dropped/400"}
		figures := make([]float64, len(names))
		into := make([]any, len(names))
		for i := range figures {
			into[i] = &figures[i]
		}
		if _, err := fmt.Sscan(said, into...); err != nil {
			b.Fatalf("%v: the page says %q", err, said)
		}
		for i, name := range names {
			b.ReportMetric(figures[i], name)
		}
	}
}
