//go:build linux

package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"
)

// xcrypto is the third contender: the forwarder that a Go programmer writes with
// golang.org/x/crypto/ssh in an hour, io.Copy and all. It takes what it needs of
// ssh's command line and ignores the rest.
func xcrypto(args []string) error {
	f := flag.NewFlagSet("xcrypto", flag.ContinueOnError)
	var opts multi
	f.Var(&opts, "o", "")
	f.String("F", "", "")
	f.Bool("N", false, "")
	port, key, cipher := f.String("p", "22", ""), f.String("i", "", ""), f.String("c", "", "")
	local, dynamic, stdio := f.String("L", "", ""), f.String("D", "", ""), f.String("W", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	b, err := os.ReadFile(*key)
	if err != nil {
		return err
	}
	signer, err := gossh.ParsePrivateKey(b)
	if err != nil {
		return err
	}
	pub, err := os.ReadFile(strings.TrimSuffix(*key, "id") + "host.pub")
	if err != nil {
		return err
	}
	hostKey, _, _, _, err := gossh.ParseAuthorizedKey(pub)
	if err != nil {
		return err
	}
	cfg := &gossh.ClientConfig{User: user(), Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}, HostKeyCallback: gossh.FixedHostKey(hostKey)}
	if *cipher != "" {
		cfg.Ciphers = []string{*cipher}
	}
	for _, o := range opts {
		if kex, ok := strings.CutPrefix(o, "KexAlgorithms="); ok {
			cfg.KeyExchanges = []string{kex}
		}
	}
	c, err := gossh.Dial("tcp", "127.0.0.1:"+*port, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	if *stdio != "" {
		ch, err := c.Dial("tcp", *stdio)
		if err != nil {
			return err
		}
		go func() { // ends with the program
			io.Copy(ch, os.Stdin)
			ch.(interface{ CloseWrite() error }).CloseWrite()
		}()
		_, err = io.Copy(os.Stdout, ch)
		return err
	}
	bind, target := *dynamic, ""
	if *local != "" {
		f := strings.SplitN(*local, ":", 3)
		bind, target = f[0]+":"+f[1], f[2]
	}
	l, err := net.Listen("tcp", bind)
	if err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go forwardXCrypto(c, nc, target)
	}
}

// multi is a flag that may be given several times.
type multi []string

func (m *multi) String() string     { return "" }
func (m *multi) Set(s string) error { *m = append(*m, s); return nil }

func forwardXCrypto(c *gossh.Client, nc net.Conn, target string) {
	defer nc.Close()
	proxy := target == ""
	if proxy {
		b := make([]byte, 10)
		if _, err := io.ReadFull(nc, b[:3]); err != nil {
			return
		}
		nc.Write([]byte{5, 0})
		if _, err := io.ReadFull(nc, b); err != nil {
			return
		}
		target = fmt.Sprintf("%s:%d", net.IP(b[4:8]), int(b[8])<<8|int(b[9]))
	}
	ch, err := c.Dial("tcp", target)
	if err != nil {
		return
	}
	defer ch.Close()
	if proxy {
		nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(ch, nc)
		ch.(interface{ CloseWrite() error }).CloseWrite()
	})
	io.Copy(nc, ch)
	nc.(*net.TCPConn).CloseWrite()
	wg.Wait()
}
