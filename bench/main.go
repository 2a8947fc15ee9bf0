//go:build linux

// Command bench runs adit, stock OpenSSH and a forwarder on x/crypto/ssh on the
// same work, in turns, and prints what each took and its ratio to OpenSSH.
// `make bench` runs it; ARGS=-short makes it quick. All of it stays on loopback.
//
// The load is made and taken without copies (sendfile, MSG_TRUNC) and by
// processes of its own. CPU is user and system time of client and server, from
// /proc, in nanoseconds where the kernel tells. MiB/s swing with whatever else
// the machine does; ratios within one run are what to judge by.
//
//	main.go      flags, the order of things      table.go    figures and printing
//	env.go       keys, servers, contenders       process.go  CPU, memory
//	target.go    the service behind the tunnel   link.go     delay and bandwidth
//	stream.go, allocs.go, setup.go, requests.go, idle.go, pingpong.go, zlib.go   a work each
//	ssm*.go      AWS Session Manager           xcrypto.go   the forwarder on x/crypto/ssh
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"
)

// work is one kind of measurement.
type work struct {
	name string
	run  func(e *env, c contender, r *results) error
	most int // rounds that are enough, for figures that hardly vary; 0 for all
}

// sizes are how much is done.
type sizes struct {
	rounds   int
	stream   int           // bytes of a stream at no delay
	seconds  time.Duration // of works that run for a time
	far      time.Duration // of streams over a longLine, growth of windows included
	idle     int           // channels
	atOnce   []int         // requests through -D
	parallel []int         // bulk streams beside a ping-pong at no delay
}

var (
	whole = sizes{rounds: 5, stream: 512 << 20, seconds: 2 * time.Second, far: 5 * time.Second, idle: 9500, atOnce: []int{1, 100, 500}, parallel: []int{1, 10, 100}}
	short = sizes{rounds: 1, stream: 256 << 20, seconds: time.Second, far: 2 * time.Second, idle: 1000, atOnce: []int{1, 500}, parallel: []int{1}}
)

func works(s sizes) []work {
	var list []work
	for _, cipher := range []string{"aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"} {
		list = append(list, streamWork(cipher, s.stream, up), streamWork(cipher, s.stream, down))
	}
	list = append(list, allocsWork(s.stream, up), allocsWork(s.stream, down))
	for _, rows := range []bool{true, false} {
		list = append(list, zlibWork(up, rows, s.stream/4), zlibWork(down, rows, s.stream/4))
	}
	list = append(list, setUpWork(), slowSetUpWork(), slowStreamWork(up, s.far), slowStreamWork(down, s.far))
	for _, n := range s.atOnce {
		list = append(list, requestsWork(n, s.seconds))
	}
	list = append(list, idleWork(s.idle))
	for _, d := range []direction{up, down} {
		list = append(list, thinPingWork(d, s.seconds))
		for _, n := range s.parallel {
			list = append(list, pingWork(d, n, s.seconds))
		}
	}
	for _, trip := range []time.Duration{4 * time.Millisecond, 80 * time.Millisecond} {
		for _, payload := range []int{1 << 10, 16 << 10} {
			list = append(list, ssmWork(up, payload, trip, 0, s.stream/2), ssmWork(down, payload, trip, 0, s.stream/2))
		}
		list = append(list, ssmWork(down, 1<<10, trip, time.Millisecond, s.stream/64))
	}
	for _, trip := range []time.Duration{0, 4 * time.Millisecond} {
		list = append(list, ssmEchoWork(trip, s.seconds))
	}
	for _, sessions := range []int{1, 4, 8} {
		list = append(list, ssmSpreadWork(sessions, sessions*(s.stream/64)))
	}
	return list
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		switch part := os.Args[1]; part {
		case "xcrypto", "target", "ssmgw":
			run := map[string]func([]string) error{"xcrypto": xcrypto, "target": target, "ssmgw": gatewayPart}[part]
			if err := run(os.Args[2:]); err != nil {
				log.Fatalf("bench %s: %v", part, err)
			}
			return
		}
	}
	isShort := flag.Bool("short", false, "one round of less work: under two minutes")
	n := flag.Int("n", 0, "rounds; 0 is 5, or 1 with -short")
	only := flag.String("only", "", "a regular expression: rows whose name matches")
	who := flag.String("who", "", "a regular expression: contenders beside ssh+sshd")
	profile := flag.String("profile", "", "a folder for CPU profiles of adit's processes")
	flag.Parse()
	s := whole
	if *isShort {
		s = short
	}
	if *n > 0 {
		s.rounds = *n
	}
	if err := run(s, regexp.MustCompile(*only), regexp.MustCompile(*who), *profile); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(s sizes, only, who *regexp.Regexp, profile string) error {
	e, err := newEnv(profile)
	if err != nil {
		return err
	}
	defer e.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	var stop atomic.Bool // after this work: what was measured is worth printing
	go func() {          // ends with the program
		<-interrupted
		stop.Store(true)
		<-interrupted
		e.close()
		os.Exit(1)
	}()
	var contenders []contender
	for i, c := range e.contenders() {
		if i == 0 || who.MatchString(c.name) {
			contenders = append(contenders, c)
		}
	}
	r := newResults()
	for _, w := range works(s) {
		if !only.MatchString(w.name) {
			continue
		}
		rounds := s.rounds
		if w.most > 0 {
			rounds = min(rounds, w.most)
		}
		for i := range rounds {
			for _, c := range contenders {
				if stop.Load() {
					break
				}
				if c.able != nil && !c.able.MatchString(w.name) {
					continue
				}
				began := time.Now()
				err := w.run(e, c, r)
				switch {
				case err == errUnable:
				case err != nil:
					log.Printf("%s, %s: %v", w.name, c.name, err)
				default:
					log.Printf("%d/%d %s, %s: %.1fs", i+1, rounds, w.name, c.name, time.Since(began).Seconds())
				}
			}
		}
	}
	fmt.Println(e.machine())
	r.print(os.Stdout, contenders)
	return nil
}
